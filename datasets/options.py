"""What a store is asked to be."""

from __future__ import annotations

from typing import Protocol

import attrs

from datasets.base import Frames
from datasets.decode import Resize
from datasets.store import Codec, Level, Settings
from registry import InputError

LARGEST = 4096
"""Pixels; a shard of at least eight such frames is held in memory by every process."""


class LevelView(Protocol):
    """Makes the frames of a smaller level of those of level 0; picklable. ``str()`` of it names it in the manifest."""

    def __call__(self, frames: Frames) -> Frames:
        """uint8 ``(T, H, W, C)`` to uint8 ``(T, H', W', C)``, each frame by itself."""

    def size(self, height: int, width: int) -> tuple[int, int]:
        """H' and W' of frames of ``height`` and ``width``."""


@attrs.frozen
class IngestOptions:
    """What to make of the videos.

    Raises:
        InputError: on ``--size``, when it is out of range.
    """

    size: int = 128
    """Height and width of the frames in pixels."""
    stride: int = 1
    """Frames of the video from one stored frame to the next."""
    codec: Codec = "none"
    """How frames are compressed; uncompressed ones are read fastest."""
    min_frames: int = 1
    """Clips of fewer stored frames are left out."""
    resize: Resize = "short-crop"
    """How a picture becomes a square."""
    levels: tuple[LevelView, ...] = ()
    """Smaller levels beside the full one."""

    def __attrs_post_init__(self) -> None:
        if not 1 <= self.size <= LARGEST:
            raise InputError.of("--size", f"{self.size} is not allowed", allowed=f"1 to {LARGEST}")

    def settings(self) -> Settings:
        """How the frames lie in the store."""
        return Settings.of(self.size, self.size, 3, self.stride, self.codec)

    def all_levels(self) -> tuple[Level, ...]:
        """Every level of the store, the full one first."""
        smaller = (Level(*view.size(self.size, self.size), str(view)) for view in self.levels)
        return (Level(self.size, self.size), *smaller)
