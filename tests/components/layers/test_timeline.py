"""Which timesteps' statistics stand in for those of a video of another length."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from components.layers import ConditionalBatchNorm, Timeline, follow


@pytest.mark.parametrize(
    ("known", "frames", "ending", "expected"),
    [
        (4, 4, 1, [0, 1, 2, 3]),
        (4, 7, 0, [0, 1, 2, 3, 3, 3, 3]),
        (4, 7, 1, [0, 1, 2, 2, 2, 2, 3]),
        (5, 8, 2, [0, 1, 2, 2, 2, 2, 3, 4]),
        (6, 4, 2, [0, 1, 4, 5]),
        (4, 2, 1, [0, 3]),
        (2, 6, 9, [0, 0, 0, 0, 0, 1]),
        (1, 3, 2, [0, 0, 0]),
    ],
)
def test_rows(known, frames, ending, expected):
    """The beginning and the ending are the known video's, the middle is held or cut, as counted by hand."""
    assert Timeline(known, frames, ending).rows(0, frames).tolist() == expected


@given(st.integers(1, 40), st.integers(1, 80), st.integers(0, 30), st.data())
def test_rows_of_a_part_are_a_part_of_the_rows(known, frames, ending, data):
    """Any stretch of frames has the rows that it has in the whole; all are known, and never run backwards."""
    start = data.draw(st.integers(0, frames - 1))
    stop = data.draw(st.integers(start + 1, frames))
    timeline = Timeline(known, frames, ending)
    whole = timeline.rows(0, frames)
    assert torch.equal(timeline.rows(start, stop), whole[start:stop])
    assert 0 <= int(whole.min()) <= int(whole.max()) < known
    assert (whole.diff() >= 0).all()
    if frames == known:
        assert whole.tolist() == list(range(known))


def test_a_norm_follows_it():
    """A frame is normalised with the row that the timeline names, and with its own again when there is none."""
    norm = ConditionalBatchNorm(2, 3).eval()
    norm.reset_statistics(3)
    norm.running_mean.copy_(torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]))
    x, condition = torch.zeros(1, 5, 2, 1, 1), torch.zeros(1, 3)
    follow(norm, Timeline(3, 5, 1))
    means = -norm(x, condition).flatten(2)[0] * (1 + 1e-5) ** 0.5
    expected = torch.tensor([[1.0, 2.0], [3.0, 4.0], [3.0, 4.0], [3.0, 4.0], [5.0, 6.0]])
    torch.testing.assert_close(means, expected)
    torch.testing.assert_close(norm(x[:, :2], condition, start=3).flatten(2)[0] * (1 + 1e-5) ** 0.5, -expected[3:])
    follow(norm, None)
    torch.testing.assert_close(-norm(x[:, :1], condition, start=2).flatten(2)[0] * (1 + 1e-5) ** 0.5, expected[4:])
