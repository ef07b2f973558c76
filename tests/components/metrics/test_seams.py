"""Seams on constructed cases: who has them scores worse."""

import pytest
import torch
from batches import added_up, of_videos
from hypothesis import given
from hypothesis import strategies as st

from components.metrics import Seams
from registry import InputError


def walk(frames, steps):
    """A video whose frame t differs from the one before by ``steps[t]`` everywhere."""
    values = torch.tensor([0.0, *[steps(t) for t in range(1, frames)]]).cumsum(0)
    return values[None, :, None, None, None].expand(2, -1, 3, 2, 2)


def ratio(video, window, time=1):
    metric = Seams(window, time)
    metric.update("generated", of_videos(video))
    return metric.figures()[0].value


@given(st.integers(2, 6), st.integers(1, 3), st.integers(7, 30))
def test_even_motion_has_no_seams(windows, time, frames):
    """Where every frame differs as much as every other, and where each new frame of x_l shows, the ratio is 1."""
    window = windows * time
    frames = max(frames, window + 1)
    assert ratio(walk(frames, lambda t: 0.01), window, time) == pytest.approx(1, abs=1e-3)
    jumps = walk(frames, lambda t: 0.05 if t % time == 0 else 0.001)
    assert ratio(jumps, window, time) == pytest.approx(1, abs=1e-3)


def test_a_seam_scores_worse():
    """Three times the difference at each border is a ratio of three; the real videos' stands beside it."""
    seam = walk(20, lambda t: 0.03 if t % 5 == 0 else 0.01)
    metric = Seams(5, 1)
    metric.update("generated", of_videos(seam))
    metric.update("real", of_videos(walk(20, lambda t: 0.01)))
    [figure] = metric.figures()
    assert figure.value == pytest.approx(3, rel=1e-3)
    assert figure.detail["real"] == pytest.approx(1, rel=1e-3)
    assert ratio(seam, 4) < 1.5  # of another window's borders it has none


def test_still_videos_have_none():
    """Nothing moves, at borders or elsewhere."""
    assert ratio(torch.zeros(1, 12, 3, 4, 4), 4) == 1


def test_ranks_add_up():
    """Two ranks give what one gives."""
    videos = torch.rand(5, 9, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    ranks = [Seams(4, 2), Seams(4, 2)]
    ranks[0].update("generated", of_videos(videos[:2]))
    ranks[1].update("generated", of_videos(videos[2:], 2))
    assert added_up(ranks).figures()[0].value == pytest.approx(ratio(videos, 4, 2))


def test_what_is_refused():
    """Videos that end before the first border, and windows without a place to compare with."""
    with pytest.raises(InputError, match="videos: 4 frames have no window border; allowed: at least 5"):
        Seams(4, 1).update("real", of_videos(torch.zeros(1, 4, 3, 2, 2)))
    with pytest.raises(InputError, match="window: 3 frames hold no place to compare with; allowed: at least 4"):
        Seams(3, 2)
