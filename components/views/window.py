"""A view that keeps a window of the frames."""

from __future__ import annotations

import attrs
from torch import Tensor

from components.clip import Clip, Span
from components.views.base import View
from registry import VIEWS, InputError, NonNegative, Positive


@VIEWS.register
class WindowView(View):
    """The ``frames`` frames from frame ``start`` on.

    Args:
        frames: how many frames to keep.
        start: the first frame kept.
    """

    def __init__(self, *, frames: Positive, start: NonNegative = 0) -> None:
        super().__init__()
        self.frames = frames
        self.start = start

    def clip(self, clip: Clip) -> Clip:
        """The clip that the view makes of ``clip``: the same but for its number of frames.

        Raises:
            InputError: on ``frames``, when the clip ends before the window does.
        """
        self._check(clip.frames)
        return attrs.evolve(clip, frames=self.frames)

    def forward(self, video: Tensor) -> Tensor:
        """The window of whole videos: ``(B, T, C, H, W)`` to ``(B, frames, C, H, W)``.

        Raises:
            InputError: on ``frames``, when the video ends before the window does.
        """
        self._check(video.shape[1])
        return video[:, self.start : self.start + self.frames]

    def input_span(self, span: Span, total: int) -> Span:
        """The input frames that the window's frames ``span`` are, in an input of ``total`` frames."""
        return Span(self.start + span.start, self.start + span.stop, total)

    def forward_span(self, video: Tensor, span: Span) -> Tensor:
        """The window's frames ``span``: ``video`` as it is, since it holds those frames alone."""
        return video

    def _check(self, total: int) -> None:
        if self.start + self.frames > total:
            what = f"a window of frames {self.start}..{self.start + self.frames} is not inside {total} frames"
            raise InputError.of("frames", what, f"start + frames at most {total}")

    def extra_repr(self) -> str:
        """The options, for ``repr``."""
        return f"frames={self.frames}, start={self.start}"
