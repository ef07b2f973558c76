"""Views one after the other."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable
from typing import cast

from torch import Tensor, nn

from components.clip import Clip, Span
from components.views.base import View
from registry import VIEWS, InputError


@VIEWS.register
class Compose(View):
    """Views applied in order, the first one to the video.

    Args:
        views: at least one view.

    Raises:
        InputError: on ``views``, when there is none.
    """

    def __init__(self, *, views: tuple[View, ...]) -> None:
        super().__init__()
        if not views:
            raise InputError.of("views", "there is no view to compose", allowed="at least one view")
        self._views = nn.ModuleList(views)

    @property
    def views(self) -> tuple[View, ...]:
        """The views in the order they are applied in."""
        return tuple(cast(Iterable[View], self._views))

    @property
    def time(self) -> int:
        """How many frames of the input one frame of the last view stands for."""
        return math.prod(view.time for view in self.views)

    def clip(self, clip: Clip) -> Clip:
        """The clip that the views make of ``clip`` together.

        Raises:
            InputError: on ``views[i].option``, when the i-th view cannot be applied to what it is given.
        """
        for index, view in enumerate(self.views):
            try:
                clip = view.clip(clip)
            except InputError as error:
                raise error.under(f"views[{index}]") from None
        return clip

    def forward(self, video: Tensor) -> Tensor:
        """The views of whole videos, one of the other: ``(B, T, C, H, W)`` to ``(B, T', C', H', W')``."""
        for view in self.views:
            video = view(video)
        return video

    def input_span(self, span: Span, total: int) -> Span:
        """The input frames that the last view's frames ``span`` are made of."""
        first, asked = self.views[0], self._asked(span)[0]
        return first.input_span(asked, total)

    def forward_span(self, video: Tensor, span: Span) -> Tensor:
        """The last view's frames ``span`` from a ``video`` that holds the frames ``input_span(span)`` alone."""
        for view, asked in zip(self.views, self._asked(span), strict=True):
            video = view.forward_span(video, asked)
        return video

    def _asked(self, span: Span) -> list[Span]:
        """The frames each view is asked for, so that the last one's are ``span``."""
        spans = [span]
        for view in reversed(self.views[1:]):
            # How long the videos between two views are follows from the input's length, which
            # `forward_span` is not told; where frames lie does not depend on it.
            spans.append(view.input_span(spans[-1], total=sys.maxsize))
        return spans[::-1]
