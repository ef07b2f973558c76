"""Intervals of figures: as sure as they say."""

import pytest
import torch

from components.metrics.groups import GROUPS, jackknife


@pytest.mark.parametrize("groups", [GROUPS, 4])
def test_intervals_hold_the_truth_as_often_as_they_say(groups):
    """Means of 40 normal numbers, 3000 times: 95% of the intervals hold the true mean, for few groups as for many."""
    random = torch.Generator().manual_seed(0)
    numbers = torch.randn(3000, 40, generator=random).double()
    held = 0
    for sample in numbers:
        sums = sample.reshape(-1, groups).sum(0)

        def mean(without, sums=sums):
            left = sums.sum() if without is None else sums.sum() - sums[without]
            return float(left) / (40 if without is None else 40 - 40 // groups)

        occupied = torch.arange(GROUPS) < groups
        _, (low, high) = jackknife(mean, occupied)
        held += low < 0 < high
    assert held / 3000 == pytest.approx(0.95, abs=0.012)


def test_one_group_has_no_interval():
    """Nothing can be left out."""
    assert jackknife(lambda without: 3.0, torch.arange(GROUPS) == 2) == (3.0, None)
