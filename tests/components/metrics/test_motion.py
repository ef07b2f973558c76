"""Optical flow of textures that move by a known amount."""

import numpy as np
import pytest
import torch
from batches import added_up, of_videos

from components.metrics import Motion
from components.metrics.motion import magnitude_of_flow
from registry import InputError


def moving(speed, count=2, frames=5, side=64, seed=0):
    """Smooth textures that move to the right by ``speed`` pixels per frame, ``(count, frames, 3, side, side)``."""
    random = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 1, 1, 16, 24, generator=random)
    texture = torch.nn.functional.interpolate(coarse[:, 0], (side, side + 32), mode="bicubic").clamp(0, 1)
    videos = torch.stack([texture[..., 32 - speed * t : 32 - speed * t + side] for t in range(frames)], dim=1)
    return videos.expand(-1, -1, 3, -1, -1) * 2 - 1


@pytest.mark.parametrize("speed", [0, 1, 3])
def test_the_flow_is_the_motion(speed):
    """Away from the borders the flow has the length that the texture moves."""
    grey = ((moving(speed)[0, :, 0] + 1) * 127.5).round().to(torch.uint8).numpy()
    lengths = magnitude_of_flow(grey)
    assert lengths.shape == (4, 64, 64)
    assert np.median(lengths[:, 12:-12, 12:-12]) == pytest.approx(speed, abs=0.25)


def measured(real, generated):
    metric = Motion()
    metric.update("real", of_videos(real))
    metric.update("generated", of_videos(generated))
    return metric


def test_the_distance_is_the_difference_of_speeds():
    """Still against moving by two pixels: all mass moves by about two; the same videos are at distance 0."""
    assert measured(moving(2), moving(2)).figures()[0].value == 0
    [figure] = measured(moving(0), moving(2)).figures()
    assert figure.value == pytest.approx(2, abs=0.3)
    assert figure.detail["generated"]["q0.5"] == pytest.approx(2, abs=0.3)
    assert figure.detail["real"]["mean"] == pytest.approx(0, abs=0.05)


def test_ranks_add_up():
    """Two ranks with a video each give what one gives with both."""
    videos = moving(1, count=4)
    ranks = [Motion(), Motion()]
    for rank, metric in enumerate(ranks):
        metric.update("real", of_videos(videos[rank : rank + 1], rank))
        metric.update("generated", of_videos(videos[2 + rank : 3 + rank], rank))
    one, other = added_up(ranks).figures()[0], measured(videos[:2], videos[2:]).figures()[0]
    assert one.value == pytest.approx(other.value)
    assert one.detail == {side: pytest.approx(values) for side, values in other.detail.items()}


def test_a_picture_has_no_motion():
    """One frame is refused."""
    with pytest.raises(InputError, match="one frame has no motion"):
        Motion().update("real", of_videos(torch.zeros(1, 1, 3, 16, 16)))
