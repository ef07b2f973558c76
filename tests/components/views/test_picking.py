"""What can be picked while reading, against the views themselves."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from components.clip import Span
from components.views import AntialiasedView, AreaView, Compose, NearestView, View, WindowView, flatten, pick

FACTORS = st.sampled_from([1, 2])


def compose(views: list[View]) -> View:
    return Compose(views=tuple(views))


SCALING = st.builds(
    lambda kind, time, space: kind(time=time, space=space),
    st.sampled_from([NearestView, NearestView, AreaView, AntialiasedView]),
    FACTORS,
    FACTORS,
)
ANY = SCALING | st.builds(lambda start: WindowView(frames=1000, start=start), st.integers(0, 2))
ROUTES = st.lists(ANY | st.lists(ANY, min_size=1, max_size=2).map(compose), max_size=3)


@settings(max_examples=80, deadline=None)
@given(route=ROUTES, wanted=st.integers(1, 3), seed=st.integers(0, 2**32))
def test_picking_then_the_rest_is_the_views(route: list[View], wanted: int, seed: int) -> None:
    """Pixels and frames picked beforehand, then what is left of the views: the very values of the views."""
    flat = flatten(route)
    spans = [Span(0, wanted, 10**6)]
    for view in reversed(flat):
        spans.insert(0, view.input_span(spans[0], 10**6))
    side = 2 * 2 ** len(flat)
    video = torch.rand((1, spans[0].frames, 1, side, side), generator=torch.Generator().manual_seed(seed)) * 2 - 1
    picked = pick(flat)
    small = video[:, :: picked.time, :, :: picked.space, :: picked.space]
    for view, rest, span in zip(flat, picked.rest, spans[1:], strict=True):
        video, small = view.forward_span(video, span), rest.forward_span(small, span)
    torch.testing.assert_close(small, video, rtol=0, atol=1e-6)  # a mean over frames may add in another order


@pytest.mark.parametrize(
    ("views", "space", "time"),
    [
        ([], 1, 1),
        ([NearestView(time=2, space=2), NearestView(time=2, space=2)], 4, 4),
        ([Compose(views=(NearestView(space=3), WindowView(frames=4, start=1))), NearestView(time=3)], 3, 3),
        ([AreaView(space=2), NearestView(time=2, space=2)], 1, 2),
        ([AreaView(time=2), NearestView(time=2, space=2)], 2, 1),
        ([NearestView(time=2, space=2), AreaView(time=2, space=2), NearestView(space=2)], 2, 2),
        ([AntialiasedView(time=2, space=2)], 1, 2),
    ],
)
def test_all_is_picked_that_may_be(views: list[View], space: int, time: int) -> None:
    """Picking goes up to the first view that mixes pixels, or frames, and no farther."""
    picked = pick(flatten(views))
    assert (picked.space, picked.time) == (space, time)


def test_an_unknown_view_is_left_alone() -> None:
    """Nothing is taken from behind a view that may do anything."""

    class Flip(View):
        def clip(self, clip):
            return clip

        def forward(self, video):
            return video.flip(1, -1)

    picked = pick([NearestView(space=2), Flip(), NearestView(time=2, space=2)])
    assert (picked.space, picked.time) == (2, 1)
