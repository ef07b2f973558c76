"""Writing clips that are in memory to a store, by one process."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from datasets.base import Frames
from datasets.disk import locked, named
from datasets.packing import Packer
from datasets.place import Place
from datasets.shard_file import write_shard
from datasets.skeleton import Clips, Contents, write_levels, write_rest
from datasets.store import WORK, Level, Manifest, Settings, shard_name
from registry import InputError


class StoreWriter:
    """Writes a store clip by clip; the same clips in the same order give the same bytes.

    It is used in a ``with`` statement. The store stands at ``path`` once :meth:`finish` has returned; left
    without that, nothing of it remains.

    Args:
        path: where the store is to stand; whatever stands there is replaced at the end.
        settings: how the frames lie in it.
        classes: names of the classes, or None without labels.

    Raises:
        InputError: another process is writing this store, or an unfinished one is in the way.
    """

    def __init__(self, path: Path, settings: Settings, classes: Sequence[str] | None) -> None:
        self.path = path
        self.settings = settings
        self.classes = None if classes is None else tuple(classes)
        self._shape = (settings.height, settings.width, settings.channels)
        self._buffer: Frames = np.zeros((settings.shard_frames, *self._shape), np.uint8)
        self._packer = Packer(settings.shard_frames)
        self._clips = Clips()
        self._files: dict[str, str] = {}
        self._shard = 0
        self._finished = False
        self._place = Place.of(path)
        self._partial = self._place.partial
        self._partial.parent.mkdir(parents=True, exist_ok=True)
        self._held = ExitStack()
        self._held.enter_context(locked(self._place.lock))
        try:
            self._place.settle()
            _clear(self._place)
        except BaseException:
            self._held.close()
            raise

    def __enter__(self) -> StoreWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if isinstance(error, OSError):
            named(error, self._partial)
        if not self._finished:
            self._place.discard(self._partial)
        self._held.close()

    def append(self, name: str, frames: Frames, label: int | None = None) -> None:
        """Add a clip.

        Args:
            name: by which a person finds the video again.
            frames: uint8 ``(T, H, W, C)``, at least one.
            label: index of its class.
        """
        if frames.dtype != np.uint8 or frames.shape[1:] != self._shape or not len(frames):
            raise ValueError(f"a clip is uint8 (T, *{self._shape}), not {frames.dtype} {frames.shape}")
        start = self._packer.place(len(frames))
        self._clips.append(name, start, len(frames), label)
        size, done = self.settings.shard_frames, 0
        while done < len(frames):
            shard, inside = divmod(start + done, size)
            self._go_to(shard)
            take = min(len(frames) - done, size - inside)
            self._buffer[inside : inside + take] = frames[done : done + take]
            done += take

    def finish(self, request: dict[str, Any]) -> Manifest:
        """Write what is left and put the store in its place.

        Args:
            request: what the store was made of.
        """
        if not self._clips.names:
            raise ValueError("a store needs a clip")
        self._write_shard(self._packer.length - self._shard * self.settings.shard_frames)
        levels = (Level(self.settings.height, self.settings.width),)
        contents = Contents(self.settings, levels, self._packer.length, self.classes, request)
        write_levels(self._partial, contents)
        manifest = write_rest(self._partial, contents, self._clips, (), self._files)
        self._place.put()
        self._finished = True
        return manifest

    def _go_to(self, shard: int) -> None:
        if shard > self._shard:
            self._write_shard(self.settings.shard_frames)
            self._buffer[:] = 0
            self._shard = shard

    def _write_shard(self, frames: int) -> None:
        name = shard_name(0, self._shard)
        (self._partial / name).parent.mkdir(parents=True)
        self._files[name] = write_shard(self._partial / name, self._buffer[:frames], self.settings)


def _clear(place: Place) -> None:
    """An empty folder for the unfinished store; what a killed writer left is removed."""
    partial = place.partial
    if partial.exists():
        if (partial / WORK).exists() or (any(partial.iterdir()) and not (partial / "levels").exists()):
            raise InputError.of(str(partial), "this folder is in the way; it is an unfinished ingestion or no store")
        place.discard(partial)
    partial.mkdir()
