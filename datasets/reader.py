"""Windows of clips out of a store, at the speed of memory."""

from __future__ import annotations

import functools
import json
import os
import resource
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from datasets.arguments import level_number, one_of
from datasets.base import Frames, VideoDataset
from datasets.shard import DESCRIPTORS, Shard, ShardError, Verify
from datasets.store import (
    INDEX,
    MANIFEST,
    NAMES,
    DamagedStoreError,
    attribute_name,
    index_name,
    manifest_bytes,
    read_manifest,
    read_whole,
    shard_name,
)
from registry import DATASETS, InputError

OPEN_SHARDS = 256
"""Shards that a store keeps open at most, where the process may have that many files."""


@DATASETS.register
class ClipStore(VideoDataset):
    """The clips of a store that ``tools/ingest.py`` wrote.

    Nothing is opened but the index until a window is read. A store can be pickled into a worker and be
    carried across a fork, and several threads may read from it. When another store has taken its place, what
    is not open yet is refused.

    Args:
        path: the store's folder.
        short: what sampling does with clips that have fewer frames than are needed: refuse, or leave
            them out.
        verify: when the checksum of a chunk is computed: at its first use by the process (and again if the
            shard's file has changed or was opened anew meanwhile), at each use, or never.

    Raises:
        InputError: there is no store at ``path``, or one that is unfinished or of another version; another
            argument is none of those above.
        DamagedStoreError: the manifest or the index is not as it was written.
    """

    def __init__(self, path: str, *, short: Literal["error", "skip"] = "error", verify: Verify = "first") -> None:
        one_of("short", short, ("error", "skip"))
        one_of("verify", verify, get_args(Verify))
        if not isinstance(path, str | os.PathLike):
            raise InputError.of("path", f"{path!r} is not allowed", "the folder of a store, as text")
        self.path = Path(path)
        self._identity = self._look()  # before reading: what changes in between is looked at again
        try:
            self.manifest = read_manifest(self.path)
        except DamagedStoreError:
            raise
        except InputError as error:
            (problem,) = error.problems
            what = f"{problem.where}: {problem.what}"
            raise InputError.of("path", what, problem.allowed or "a store of tools/ingest.py") from None
        self.short = short
        self.verify: Verify = verify
        self.settings = self.manifest.settings
        self.height, self.width = self.settings.height, self.settings.width
        self.channels, self.stride = self.settings.channels, self.settings.stride
        self.classes = self.manifest.classes
        self.levels = tuple(level.view for level in self.manifest.levels)
        self.fingerprint = self.manifest.fingerprint
        self._offsets, self._frames, self._labels = (self._read_index(name, kind) for name, kind in INDEX.items())
        self._prepare()

    def _prepare(self) -> None:
        # lru_cache, unlike a dict kept by hand, also stands several threads.
        self._shard = functools.lru_cache(open_shards())(self.open_shard)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("_shard", "names")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._prepare()

    def close(self) -> None:
        """Close every shard that was read from, and forget which chunks were sound; reading opens them again."""
        self._shard.cache_clear()

    def __len__(self) -> int:
        """Number of clips."""
        return self.manifest.clips

    def frames(self, clip: int) -> int:
        """Number of frames of a clip."""
        return int(self._frames[self.check_clip(clip)])

    def lengths(self) -> npt.NDArray[np.int64]:
        """Number of frames of every clip, int64 ``(len(self),)``."""
        return self._frames.astype(np.int64)

    def label(self, clip: int) -> int | None:
        """The index of a clip's class in ``classes``; None when it has none."""
        label = int(self._labels[self.check_clip(clip)])
        return None if label < 0 else label

    def attribute(self, name: str) -> npt.NDArray[np.int32]:
        """For every clip the place of its value in ``manifest.attributes[name]``, or -1: int32 ``(len(self),)``.

        Raises:
            KeyError: the clips have no such attribute.
            DamagedStoreError: the values are not as they were written.
        """
        if name not in self.manifest.attributes:
            raise KeyError(f"the clips have no attribute {name!r}, only {sorted(self.manifest.attributes)}")
        return self._read_index(attribute_name(name), "int32")

    @functools.cached_property
    def names(self) -> list[str]:
        """The clips' names: the paths of the videos inside the folder that was ingested."""
        names: list[str] = json.loads(self._read_whole(NAMES))
        return names

    def name(self, clip: int) -> str:
        """The path of the video inside the folder that was ingested."""
        return self.names[self.check_clip(clip)]

    def known_name(self, clip: int) -> str | None:
        """The same, but None when the file of the names is damaged."""
        try:
            return self.name(clip)
        except DamagedStoreError:
            return None

    def window(self, clip: int, start: int, frames: int, level: int | None = None) -> Frames:
        """The frames ``start <= t < start + frames`` of a clip: uint8 ``(frames, H, W, C)``, writable.

        Args:
            clip: index of the clip.
            start: first frame.
            frames: how many.
            level: which of the store's arrays to read; 0 and None are the full size.

        Raises:
            InputError: an argument is not of its kind, or (:class:`IndexError` as well) there is no such clip or
                level, or the clip does not have these frames.
            DamagedStoreError: the data is missing or damaged.
        """
        return self.strided(clip, start, frames, 1, 0 if level is None else level)

    def strided(
        self, clip: int, start: int, frames: int, step: int, level: int = 0, out: Frames | None = None
    ) -> Frames:
        """The frames ``start``, ``start + step``, ... of a clip, ``frames`` of them, as ``level`` holds them.

        Args:
            clip: index of the clip.
            start: first frame.
            frames: how many.
            step: from one to the next.
            level: index in ``levels``.
            out: where to write them, contiguous; None is new memory.

        Returns:
            uint8 ``(frames, H, W, C)`` of the level's size, writable; ``out`` if given.

        Raises:
            InputError: an argument is not of its kind, or (:class:`IndexError` as well) there is no such clip or
                level, or the clip does not have these frames.
            DamagedStoreError: the data is missing or damaged.
        """
        clip, start, frames, step = self.check_window(clip, start, frames, step)
        level = level_number(level, self.levels)
        size, shard_frames = self.manifest.levels[level], self.settings.shard_frames
        if out is None:
            out = np.empty((frames, size.height, size.width, self.channels), np.uint8)
        first, done = int(self._offsets[clip]) + start, 0
        while done < frames:
            number, inside = divmod(first + done * step, shard_frames)
            part = out[done : done + -(-(shard_frames - inside) // step)]
            try:
                self._open(level, number).read(inside, part, step)
            except ShardError as error:
                file, name = self.path / shard_name(level, number), self.known_name(clip)
                who = f"clip {clip}" if name is None else f"clip {clip} ({name})"
                raise DamagedStoreError(f"{file}: {error}; {who} needs it") from None
            done += len(part)
        return out

    def _open(self, level: int, number: int) -> Shard:
        """The shard as it is now on the disk."""
        shard = self._shard(level, number)
        if shard.touched():
            self.close()
            shard = self._shard(level, number)
        return shard

    def clips_in(self, first: int, last: int) -> list[int]:
        """The clips that have any of the frames ``first <= n < last`` of the arrays."""
        ends = self._offsets + self._frames
        return [int(clip) for clip in np.flatnonzero((self._offsets < last) & (ends > first))]

    def open_shard(self, level: int, number: int) -> Shard:
        """A shard, freshly opened.

        Raises:
            ShardError: it is missing, or its index is damaged.
            DamagedStoreError: another store stands here now.
        """
        size, settings = self.manifest.levels[level], self.settings
        chunk = (settings.chunk_frames, size.height, size.width, settings.channels)
        chunks = settings.shard_frames // settings.chunk_frames
        try:
            return Shard(self.path / shard_name(level, number), chunk, chunks, settings.codec, self.verify)
        finally:
            self._check_identity()  # afterwards, so that no other store can slip in between

    def _check_identity(self) -> None:
        """Refuse to read on in another store than was opened.

        Raises:
            DamagedStoreError: another one has taken its place.
        """
        now = self._look()
        if now == self._identity:
            return
        try:
            same = now is not None and (self.path / MANIFEST).read_bytes() == manifest_bytes(self.manifest)
        except OSError:
            same = False
        if not same:
            raise DamagedStoreError(f"{self.path}: was replaced or removed since it was opened; open it again")
        self._identity = now

    def _look(self) -> tuple[int, ...] | None:
        """What tells the manifest's file from another one; None when there is none."""
        try:
            state = (self.path / MANIFEST).stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise DamagedStoreError(f"{self.path / MANIFEST}: cannot be read: {error.strerror}") from None
        return state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns

    def _read_whole(self, name: str) -> bytes:
        try:
            return read_whole(self.path, name, self.manifest)
        except DamagedStoreError:
            self._check_identity()
            raise

    def _read_index(self, array: str, kind: str) -> npt.NDArray[Any]:
        data = self._read_whole(index_name(array))
        values = np.frombuffer(data[:-4], np.dtype(kind).newbyteorder("<"))  # 4: the CRC32C of the chunk
        if len(values) != self.manifest.clips:
            what = f"has {len(values)} of {self.manifest.clips} clips"
            raise DamagedStoreError(f"{self.path / index_name(array)}: {what}")
        return values


def open_shards() -> int:
    """How many shards a store keeps open: several stores must find room among a process's files, 1024 by default."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return OPEN_SHARDS if files == resource.RLIM_INFINITY else min(OPEN_SHARDS, max(1, files // (4 * DESCRIPTORS)))
