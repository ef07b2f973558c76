"""Which smaller frames a graph's stages can be made of, and which level is read."""

import numpy as np
import pytest

from components.clip import Clip
from framework import Stage, StageGraph, use
from framework.spec_file import load_spec
from framework.stored_views import StoredView, choose_level, stored_views
from registry import InputError


def test_views_of_the_paper_s_cascade():
    """The three-stage cascade can hold 64x64 and 32x32 frames beside its 128x128."""
    experiment, _ = load_spec("exp/bdd_3stage.py")
    views = stored_views(experiment.graph)
    assert [str(view) for view in views] == ["nearest space=2", "nearest space=4"]
    assert [view.size(128, 128) for view in views] == [(64, 64), (32, 32)]


@pytest.mark.parametrize("kind", ["AreaView", "AntialiasedView"])
def test_views_that_mix_pixels_are_not_stored(kind):
    """Means and blurs are not whole numbers: there is no level of them."""
    stages = [
        Stage("base", clip=Clip(4, 8, 8), generator=use("none")),
        Stage("full", clip=Clip(4, 16, 16), source="base", view=use(kind, space=2), generator=use("none")),
    ]
    assert stored_views(StageGraph(clip=Clip(4, 16, 16), stages=stages)) == []


def test_pixels_of_a_stored_view():
    """It is every n-th pixel of every n-th row of all frames, in memory of its own."""
    frames = np.random.default_rng(0).integers(0, 256, (3, 8, 12, 3), dtype=np.uint8)
    small = StoredView(4)(frames)
    np.testing.assert_array_equal(small, frames[:, ::4, ::4])
    assert small.flags.c_contiguous
    assert small.dtype == np.uint8
    assert StoredView(4).size(8, 12) == small.shape[1:3]
    with pytest.raises(InputError, match="5 does not divide"):
        StoredView(5)(frames)


@pytest.mark.parametrize(
    ("held", "space", "level", "pixels"),
    [
        ([""], 4, 0, 4),
        (["", "nearest space=4", "nearest space=2"], 4, 1, 1),
        (["", "nearest space=4", "nearest space=2"], 2, 2, 1),
        (["", "nearest space=2"], 4, 1, 2),
        (["", "nearest space=8", "nearest space=3"], 4, 0, 4),
        (["", "area space=2"], 2, 0, 2),
    ],
)
def test_smallest_level_that_holds_the_pixels(held, space, level, pixels):
    """A level is read when its pixels include those wanted, the smallest such; the rest is left out after."""
    assert choose_level(held, space) == (level, pixels)
