"""What every view does: map a clip to a smaller clip, and a batch of videos with it (section 3.1)."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from components.clip import Clip, Span
from registry import VIEWS


@VIEWS.base
class View(nn.Module, ABC):
    """``x_l = f(x)``: an operation that keeps less of a video than there was.

    A view states its shape arithmetic in :meth:`clip` beside its tensor function :meth:`forward`, so
    that a graph is checked without any tensor. Views have no parameters and run where the batch is.
    """

    @abstractmethod
    def clip(self, clip: Clip) -> Clip:
        """The clip that the view makes of ``clip``.

        Raises:
            InputError: the view cannot be applied to ``clip`` (a size that does not divide, say).
        """

    @abstractmethod
    def forward(self, video: Tensor) -> Tensor:
        """The view of whole videos: ``(B, T, C, H, W)`` to ``(B, T', C', H', W')``, same value range."""

    @property
    def time(self) -> int:
        """How many frames of the input one frame of the view stands for."""
        return 1

    def input_span(self, span: Span, total: int) -> Span:
        """The input frames that the view's frames ``span`` are made of, in an input of ``total`` frames."""
        return Span(span.start * self.time, span.stop * self.time, total)

    def forward_span(self, video: Tensor, span: Span) -> Tensor:
        """The view's frames ``span`` from a ``video`` that holds the frames ``input_span(span)`` alone."""
        view: Tensor = self(video)
        return view
