"""Writing a clip store: beside its place, one shard at a time, the manifest last, then renamed whole."""

from __future__ import annotations

import fcntl
import hashlib
import importlib.metadata
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import attrs
import numpy as np
import zarr
from zarr.codecs import Crc32cCodec, ZstdCodec

from datasets.base import Frames
from datasets.store import (
    FORMAT,
    INDEX,
    MANIFEST,
    NAMES,
    QUARANTINE,
    VERSION,
    Codec,
    Level,
    Manifest,
    Settings,
    index_name,
    shard_name,
    to_json,
)
from registry import InputError
from registry.convert import unstructure

ZSTD_LEVEL = 3


class StoreWriter:
    """Writes a store clip by clip; the same clips in the same order give the same bytes.

    It is used in a ``with`` statement. The store stands at ``path`` once :meth:`finish` has returned; left
    without that, nothing of it remains. A whole shard is written at once, by this one writer.

    Args:
        path: where the store is to stand; whatever stands there is replaced at the end.
        settings: how the frames lie in it.
        classes: names of the classes, or None without labels.

    Raises:
        InputError: another process is writing this store.
    """

    def __init__(self, path: Path, settings: Settings, classes: Sequence[str] | None) -> None:
        self.path = path
        self.settings = settings
        self.classes = None if classes is None else tuple(classes)
        self._names: list[str] = []
        self._index: dict[str, list[int]] = {array: [] for array in INDEX}
        self._files: dict[str, str] = {}
        self._shape = (settings.height, settings.width, settings.channels)
        self._buffer: Frames = np.zeros((settings.shard_frames, *self._shape), np.uint8)
        self._shard = 0
        self._filled = 0
        self._finished = False
        self._partial = path.with_name(f"{path.name}.partial")
        self._lock = _claim(self._partial)
        # Not mode "w": that would remove the folder, and the lock with it.
        self._group = zarr.open_group(self._partial, mode="w-", zarr_format=3)
        self._array = self._group.create_array(
            "levels/0",
            shape=(0, *self._shape),
            dtype="uint8",
            chunks=(settings.chunk_frames, *self._shape),
            shards=(settings.shard_frames, *self._shape),
            compressors=_codecs(settings.codec),
            fill_value=0,
            config={"write_empty_chunks": True},
        )

    def __enter__(self) -> StoreWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(self._partial)  # a full disk's error does not say where
        if not self._finished:
            shutil.rmtree(self._partial)
        os.close(self._lock)

    def append(self, name: str, frames: Frames, label: int | None = None) -> None:
        """Add a clip.

        Args:
            name: by which a person finds the video again.
            frames: uint8 ``(T, H, W, C)``, at least one.
            label: index of its class.
        """
        if frames.dtype != np.uint8 or frames.shape[1:] != self._shape or not len(frames):
            raise ValueError(f"a clip is uint8 (T, *{self._shape}), not {frames.dtype} {frames.shape}")
        if self._filled and self._filled + len(frames) > self.settings.shard_frames:
            self._next_shard()
        start = self._shard * self.settings.shard_frames + self._filled
        for array, value in zip(INDEX, (start, len(frames), -1 if label is None else label), strict=True):
            self._index[array].append(value)
        self._names.append(name)
        done = 0
        while done < len(frames):
            if self._filled == self.settings.shard_frames:
                self._next_shard()
            take = min(len(frames) - done, self.settings.shard_frames - self._filled)
            self._buffer[self._filled : self._filled + take] = frames[done : done + take]
            self._filled += take
            done += take

    def finish(self, request: Mapping[str, Any], quarantine: Sequence[Mapping[str, str]] = ()) -> Manifest:
        """Write what is left and put the store in its place.

        Args:
            request: what ingestion was asked for.
            quarantine: ``name`` and ``reason`` of every video that was left out.
        """
        if not self._names:
            raise ValueError("a store needs a clip")
        self._write_shard(self._filled)
        for array, values in self._index.items():
            self._write_index(array, np.asarray(values, INDEX[array]))
        self._write_json(NAMES, self._names)
        self._write_json(QUARANTINE, list(quarantine))
        self._record(*sorted(str(path.relative_to(self._partial)) for path in self._partial.rglob("zarr.json")))
        manifest = self._manifest(request)
        with (self._partial / MANIFEST).open("wb") as file:
            file.write(to_json(unstructure(manifest)))
            file.flush()
            os.fsync(file.fileno())
        _sync_folders(self._partial)
        _replace(self._partial, self.path)
        self._finished = True
        return manifest

    def _manifest(self, request: Mapping[str, Any]) -> Manifest:
        manifest = Manifest(
            format=FORMAT,
            version=VERSION,
            settings=self.settings,
            levels=(Level(self.settings.height, self.settings.width),),
            clips=len(self._names),
            frames=sum(self._index["frames"]),
            length=self._array.shape[0],
            classes=self.classes,
            request=request,
            made_with={name: importlib.metadata.version(name) for name in ("av", "numcodecs", "zarr")},
            files=self._files,
            fingerprint="",
        )
        return attrs.evolve(manifest, fingerprint=manifest.digest())

    def _next_shard(self) -> None:
        self._write_shard(self.settings.shard_frames)
        self._shard += 1
        self._filled = 0
        self._buffer[:] = 0

    def _write_shard(self, frames: int) -> None:
        start = self._shard * self.settings.shard_frames
        self._array.resize((start + frames, *self._shape))
        self._array[start : start + frames] = self._buffer[:frames]
        self._record(shard_name(0, self._shard))

    def _write_index(self, name: str, values: np.ndarray[Any, Any]) -> None:
        array = self._group.create_array(
            f"clips/{name}",
            shape=values.shape,
            dtype=values.dtype,
            chunks=values.shape,
            compressors=_codecs("none"),
            fill_value=0,
            config={"write_empty_chunks": True},
        )
        array[:] = values
        self._record(index_name(name))

    def _write_json(self, name: str, data: Any) -> None:
        (self._partial / name).write_bytes(to_json(data))
        self._record(name)

    def _record(self, *names: str) -> None:
        """Bring files to the disk and note their digests."""
        for name in names:
            with (self._partial / name).open("rb") as file:
                self._files[name] = hashlib.file_digest(file, "sha256").hexdigest()
                os.fsync(file.fileno())


def _codecs(codec: Codec) -> tuple[Any, ...]:
    return (Crc32cCodec(),) if codec == "none" else (ZstdCodec(level=ZSTD_LEVEL), Crc32cCodec())


def _claim(partial: Path) -> int:
    """An empty folder at ``partial`` that is locked for this process; what a killed run left is removed."""
    partial.mkdir(parents=True, exist_ok=True)
    if any(partial.iterdir()) and not (partial / "zarr.json").is_file():
        raise InputError.of(str(partial), "this folder is in the way, and it is not what is left of a store")
    lock = os.open(partial, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise InputError.of(str(partial), "another process is writing this store") from None
    for path in partial.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return lock


def _replace(partial: Path, path: Path) -> None:
    """Rename ``partial`` to ``path``; an older store there goes once the new one stands."""
    old = path.with_name(f"{path.name}.old")
    if path.exists():
        path.rename(old)
    partial.rename(path)
    _sync(path.parent)
    if old.exists():
        shutil.rmtree(old)


def _sync_folders(top: Path) -> None:
    for folder in (top, *(path for path in top.rglob("*") if path.is_dir())):
        _sync(folder)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
