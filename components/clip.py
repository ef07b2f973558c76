"""What a video tensor holds: its size in time and space, and which of its frames are meant."""

from __future__ import annotations

from dataclasses import dataclass

import attrs

from registry import InputError, NonNegative, Positive


@attrs.frozen
class Clip:
    """The type on every edge of a cascade: the shape of a video, and the time between its frames."""

    frames: Positive
    """Number of frames, T."""
    height: Positive
    """Pixels, H."""
    width: Positive
    """Pixels, W."""
    channels: Positive = 3
    """Colour channels, C."""
    stride: Positive = 1
    """Frames of the source video from one frame of this clip to the next."""

    def shape(self, batch: int) -> tuple[int, int, int, int, int]:
        """The shape ``(B, T, C, H, W)`` of a batch of such clips."""
        return (batch, self.frames, self.channels, self.height, self.width)

    def __str__(self) -> str:
        """The paper's way of writing it: ``128x128/100 @2``, height x width / frames @ stride."""
        colours = "" if self.channels == 3 else f"x{self.channels}"
        return f"{self.height}x{self.width}{colours}/{self.frames} @{self.stride}"


@dataclass(frozen=True)
class Span:
    """The frames ``start <= t < stop`` of a video of ``total`` frames."""

    start: NonNegative
    stop: Positive
    total: Positive

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.stop <= self.total:
            raise InputError.of("span", f"frames {self.start} to {self.stop} are not inside {self.total} frames")

    @classmethod
    def whole(cls, frames: int) -> Span:
        """All of a video of ``frames`` frames."""
        return cls(0, frames, frames)

    @property
    def frames(self) -> int:
        """How many frames the span holds."""
        return self.stop - self.start

    def widened(self, field: FieldOfView) -> Span:
        """The frames that this span's frames depend on, as far as the video goes."""
        start = 0 if field.past is None else max(0, self.start - field.past)
        stop = self.total if field.future is None else min(self.total, self.stop + field.future)
        return Span(start, stop, self.total)

    def shrunk(self, factor: int) -> Span:
        """The frames that touch this span in a video with ``factor`` times fewer frames."""
        return Span(self.start // factor, -(-self.stop // factor), -(-self.total // factor))

    def within(self, outer: Span) -> slice:
        """Where this span's frames lie in a tensor that holds the frames of ``outer``.

        Raises:
            InputError: ``outer`` does not hold them all.
        """
        if self.start < outer.start or self.stop > outer.stop or self.total != outer.total:
            raise InputError.of("span", f"{self} is not inside {outer}")
        return slice(self.start - outer.start, self.stop - outer.start)

    def __str__(self) -> str:
        return f"frames {self.start}..{self.stop} of {self.total}"


@dataclass(frozen=True)
class FieldOfView:
    """How many frames before and after itself an output frame depends on; None is without bound."""

    past: int | None = 0
    future: int | None = 0

    def __add__(self, other: FieldOfView) -> FieldOfView:
        """The field of view of one module after the other."""
        past = None if self.past is None or other.past is None else self.past + other.past
        future = None if self.future is None or other.future is None else self.future + other.future
        return FieldOfView(past, future)
