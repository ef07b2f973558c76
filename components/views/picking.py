"""What a row of views merely picks: pixels and frames that need not be read, or can be picked beforehand.

A view that picks pixels, such as the paper's nearest-neighbour view, keeps values of the video as they are;
so it makes no difference whether the pixels are picked by the view, while a clip is read, or once and for
all before it is stored. A view that mixes pixels (a mean, a blur) makes values that eight bits do not hold:
from there on nothing is taken out.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from components.views.base import View
from components.views.compose import Compose
from components.views.scaling import ScalingView
from components.views.window import WindowView


@attrs.frozen
class Picked:
    """Views as picking followed by views that have less to do.

    Applying the views to a video equals, value for value, keeping its pixels ``(i * space, j * space)`` and
    its frames ``t * time`` from the first one needed on, then applying ``rest``.
    """

    space: int
    """Pixels of the video per pixel kept, along each axis."""
    time: int
    """Frames of the video per frame kept."""
    rest: tuple[View, ...]
    """One for each of the views."""


def flatten(views: Sequence[View]) -> tuple[View, ...]:
    """The views with the parts of every :class:`Compose` in its place."""
    return tuple(part for view in views for part in (flatten(view.views) if isinstance(view, Compose) else (view,)))


def pick(views: Sequence[View]) -> Picked:
    """Take the picking out of ``views``, which are flat and applied in their order."""
    rest = list(views)
    space = time = 1
    for number, view in _while_scaling(views):
        if view.picks_pixels:
            space *= view.space
            rest[number] = view.rescaled(view.time, 1)
        elif view.space > 1:
            break
    for number, view in _while_scaling(rest):
        if view.picks_frames:
            time *= view.time
            rest[number] = view.rescaled(1, view.space)
        elif view.time > 1:
            break
    return Picked(space, time, tuple(rest))


def _while_scaling(views: Sequence[View]) -> list[tuple[int, ScalingView]]:
    """The scaling views up to the first whose pixels and frames nothing is known about; windows pick too."""
    found = []
    for number, view in enumerate(views):
        if isinstance(view, ScalingView):
            found.append((number, view))
        elif not isinstance(view, WindowView):
            break
    return found
