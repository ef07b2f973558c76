"""Videos to stored frames and back."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from framework.pixel_values import frames_of, videos_of

CPU = torch.device("cpu")


def test_every_stored_value_comes_back():
    """All 256 of them, in order, between -1 and 1; channels and frames where they belong."""
    frames = torch.arange(256, dtype=torch.uint8).reshape(1, 4, 8, 4, 2)
    videos = videos_of(frames, CPU)
    assert videos.shape == (1, 4, 2, 8, 4)
    assert (videos.min(), videos.max()) == (-1, 1)
    assert videos[0, 1, 1, 2, 3] == frames[0, 1, 2, 3, 1] / 127.5 - 1
    assert (frames_of(videos) == frames.numpy()).all()


@given(st.lists(st.floats(-1.25, 1.25, width=32), min_size=1, max_size=20))
def test_storing_moves_a_value_by_a_255th_at_most(values):
    """And what lies beyond [-1, 1] to its end."""
    videos = torch.tensor(values).reshape(1, -1, 1, 1, 1)
    back = videos_of(torch.from_numpy(frames_of(videos)), CPU)
    assert (back - videos.clamp(-1, 1)).abs().max() <= 1 / 255 + 1e-6
