"""The mean over windows from few of them."""

import pytest
from counted import CLIPS, flops, real_step, setting, tiny
from hypothesis import given
from hypothesis import strategies as st

from framework.cost.prefix import prefix_of_iteration, prefix_totals, spread


@given(st.integers(1, 500), st.sampled_from([2, 4, 6, 10]))
def test_few_places_have_the_mean_of_all(count, most):
    """They are different places, no more than allowed, and anything linear has the mean over all at them."""
    places = spread(count, most)
    assert len(set(places)) == len(places) <= max(most, min(count, most))
    assert all(0 <= place < count for place in places)
    assert sum(places) / len(places) == (count - 1) / 2


def test_mean_over_all_windows():
    """The FLOPs are the mean of those that the real sources have at each window."""
    experiment, of = tiny()
    step = real_step("full")
    data, labels = step.model.data, step.batches[0]["label"]

    def at(window):
        data.draw_window = lambda: data.window(window)
        latents = step.model.draw(CLIPS)
        return flops(lambda: step.model.sources.frames(latents.of_sources, labels, latents.window))

    values = [at(window) for window in range(data.starts)]
    assert len(set(values)) > 1, "the window's place should matter here"
    found = prefix_totals(experiment, "full", of["full"], CLIPS, setting().card)
    assert found.flops == pytest.approx(sum(values) / len(values), rel=1e-9)


def test_passes_of_an_iteration():
    """One for each of the three updates; once for all of them, a third of that; with a bank, or no source, none."""
    ways = ({}, {"prefix": "iteration"}, {"prefix_bank": 8})

    def spent(name, options):
        experiment, of = tiny(**options)
        return prefix_of_iteration(experiment, name, of[name], CLIPS, setting().card, windows=2).flops

    each, once, banked = (spent("full", options) for options in ways)
    assert each == 3 * once > 0
    assert banked == spent("base", {}) == 0
