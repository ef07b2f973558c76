"""A generator's layers over a video that comes in pieces: each frame once, and few of them in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor, nn

from components.clip import FieldOfView, Span
from components.layers import ConvGRU

Apply = Callable[[Tensor, int], Tensor]
"""A temporal layer: frames ``(B, T, C, H, W)``, and which frame of the video the first of them is, to as many."""


class LayerStream:
    """A temporal layer over the frames of a video as they come.

    A recurrent layer carries its state along. Any other keeps the last frames of its input that outputs still to
    come depend on; there it computes frames beside the wanted ones anew, and leaves them out.

    Args:
        layer: says its ``field_of_view``; a :class:`ConvGRU` if that has no bound.
        apply: computes the layer.
        total: frames of the video.
    """

    def __init__(self, layer: nn.Module, apply: Apply, total: int) -> None:
        field = layer.field_of_view
        assert isinstance(field, FieldOfView)  # noqa: S101 - for the type checker: modules' attributes are untyped
        self._layer, self._apply, self._field, self._total = layer, apply, field, total
        self._held: FrameBuffer = FrameBuffer()
        self._state: Tensor | None = None
        self.done = 0
        """How many frames of the output have been given."""

    @property
    def future(self) -> int:
        """How many frames the output lags behind the input."""
        return self._field.future or 0

    def push(self, x: Tensor, until: int | None = None) -> Tensor | None:
        """Take the next frames of the input ``(B, n, C, H, W)``, n >= 0; gives the next ones of the output, if any.

        Args:
            x: the frames.
            until: give none from this one on yet.
        """
        if isinstance(self._layer, ConvGRU):
            x = self._layer(x, self._state)
            self._state = x[:, -1]
            self.done += x.shape[1]
            return x
        self._held.push(x)
        stop = self._held.stop
        ready = min(stop if stop == self._total else stop - self.future, stop if until is None else until)
        if ready <= self.done:
            return None
        wanted = Span(self.done, ready, self._total)
        needed = wanted.widened(self._field)
        self._held.drop(needed.start)
        start = self._held.start
        output = self._apply(self._held.frames(start, stop), start)[:, wanted.within(Span(start, stop, self._total))]
        self.done = ready
        if ready < self._total:
            self._held.drop(Span(ready, ready + 1, self._total).widened(self._field).start)
        return output


class FrameBuffer:
    """The latest frames of a video, those that are still needed."""

    def __init__(self) -> None:
        self.start = 0
        """Which frame of the video the first one here is."""
        self._frames: Tensor | None = None

    @property
    def stop(self) -> int:
        """The frame after the last one here."""
        return self.start + (0 if self._frames is None else self._frames.shape[1])

    def push(self, frames: Tensor) -> None:
        """Add the next frames, ``(B, n, C, H, W)``."""
        self._frames = frames if self._frames is None else join([self._frames, frames])

    def frames(self, start: int, stop: int) -> Tensor:
        """The frames ``start <= t < stop``, which must be here."""
        if self._frames is None or not self.start <= start < stop <= self.stop:
            raise IndexError(f"frames {start} to {stop} are not among {self.start} to {self.stop}")
        return self._frames[:, start - self.start : stop - self.start]

    def drop(self, start: int) -> None:
        """Forget the frames before ``start``; none of them may be missing yet."""
        if self._frames is not None and start > self.start:
            # A copy: a view would keep the memory of what it leaves out.
            self._frames = join([self._frames[:, start - self.start :]]) if start < self.stop else None
            self.start = start


def join(pieces: list[Tensor]) -> Tensor:
    """Pieces ``(B, n, C, H, W)`` in a row, channels-last in memory, as the convolutions like it."""
    return torch.cat([piece.permute(0, 1, 3, 4, 2) for piece in pieces], dim=1).permute(0, 1, 4, 2, 3)


def regrouped(pieces: Iterable[Tensor], frames: int) -> Iterator[Tensor]:
    """The frames of ``pieces``, ``(B, n, C, H, W)`` each, in pieces of ``frames`` frames; the last may have fewer.

    A layer computes the frames beside each piece anew: smaller pieces than need be cost more.
    """
    held: list[Tensor] = []
    missing = frames
    for piece in pieces:
        for part in (piece[:, :missing], *torch.split(piece[:, missing:], frames, dim=1)):
            if not part.shape[1]:
                continue
            held.append(part)
            missing -= part.shape[1]
            if not missing:
                yield join(held) if len(held) > 1 else held[0]
                held, missing = [], frames
    if held:
        yield join(held) if len(held) > 1 else held[0]
