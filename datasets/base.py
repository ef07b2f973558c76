"""What every source of video clips does."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from datasets.arguments import NoSuchError, level_number, whole
from registry import DATASETS

Frames: TypeAlias = npt.NDArray[np.uint8]
"""Frames ``(T, H, W, C)``, uint8, RGB."""


@DATASETS.base
class VideoDataset(ABC):
    """Clips of one height, width and frame stride, of any length, read in temporal windows.

    A dataset's constructor has options only, since a spec is all that it is built from. A dataset can be
    pickled, and be used after a fork.
    """

    height: int
    """Pixels, H."""
    width: int
    """Pixels, W."""
    channels: int
    """Colour channels, C."""
    stride: int
    """Frames of the source video from one stored frame to the next."""
    classes: tuple[str, ...] | None
    """Names of the classes in the order of their labels; None when there are no labels."""
    fingerprint: str
    """A digest that two datasets share only if they hold the same clips."""
    short: Literal["error", "skip"] = "error"
    """What sampling does with a clip that has fewer frames than are needed."""
    levels: tuple[str, ...] = ("",)
    """What is at hand of every frame: canonical texts of spatial views. Level 0, "", is the frames as they are."""

    @abstractmethod
    def __len__(self) -> int:
        """Number of clips."""

    @abstractmethod
    def frames(self, clip: int) -> int:
        """Number of frames of a clip."""

    @abstractmethod
    def label(self, clip: int) -> int | None:
        """The index of a clip's class in ``classes``; None when it has none."""

    @abstractmethod
    def name(self, clip: int) -> str:
        """A name by which a person finds the clip again."""

    @abstractmethod
    def window(self, clip: int, start: int, frames: int) -> Frames:
        """The frames ``start <= t < start + frames`` of a clip: uint8 ``(frames, H, W, C)``, writable.

        Raises:
            IndexError: there is no such clip, or it does not have these frames.
        """

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
            IndexError: there is no such clip or level, or it does not have these frames.
        """
        level_number(level, self.levels)
        self.check_window(clip, start, frames, step)
        found = self.window(clip, start, (frames - 1) * step + 1)[::step]
        if out is None:
            return found
        out[:] = found
        return out

    def lengths(self) -> npt.NDArray[np.int64]:
        """Number of frames of every clip, int64 ``(len(self),)``."""
        return np.fromiter((self.frames(clip) for clip in range(len(self))), dtype=np.int64, count=len(self))

    def check_clip(self, clip: int) -> int:
        """``clip`` as an int, if there is one of that number; negative numbers do not count from the end.

        Raises:
            InputError: it is no number, or (:class:`IndexError` as well) there is no such clip.
        """
        number = whole("clip", clip, f"0 to {len(self) - 1}")
        if not 0 <= number < len(self):
            raise NoSuchError.of("", f"clip {number} is none of the {len(self)} clips", f"0 to {len(self) - 1}")
        return number

    def check_window(self, clip: int, start: int, frames: int, step: int = 1) -> tuple[int, int, int, int]:
        """The same four numbers as ints, if there is such a clip with frames ``start``, ``start + step``, ...

        Raises:
            InputError: one is no number or too small, or (:class:`IndexError` as well) there is no such clip, or it
                does not have these frames.
        """
        clip, held = self.check_clip(clip), self.frames(clip)
        start, frames = whole("start", start, f"0 to {held - 1}"), whole("frames", frames, f"1 to {held}")
        step = whole("step", step, "int, at least 1", least=1)
        end = start + (frames - 1) * step + 1
        if frames < 1 or start < 0 or end > held:
            raise NoSuchError.of("", f"clip {clip} has {held} frames; frames {start} to {end} are not among them")
        return clip, start, frames, step
