"""Fréchet distances on videos: what is broken in time or in sharpness is further away than other videos of the kind."""

import pytest
import torch

from components.features import RandomFeatures
from components.metrics import FID, MetricBatch


def squares(count, seed, frames=8, side=16):
    """Bright squares that move over dark ground, each in a direction of its own: ``(count, frames, 3, side, side)``."""
    random = torch.Generator().manual_seed(seed)
    start = torch.rand(count, 2, generator=random) * side
    speed = torch.randn(count, 2, generator=random) * 1.5
    colour = torch.rand(count, 3, generator=random)
    place = (start[:, None] + speed[:, None] * torch.arange(frames)[:, None]) % side
    rows = torch.arange(side)
    inside = ((rows - place[..., None]) % side < 5).float()  # (count, frames, 2, side)
    shape = inside[:, :, 0, :, None] * inside[:, :, 1, None, :]
    return shape[:, :, None] * colour[:, None, :, None, None] * 2 - 1


@torch.no_grad()
def distance(real, generated):
    network, metric = RandomFeatures(dim=8), FID()
    for side, videos in (("real", real), ("generated", generated)):
        numbers = torch.arange(len(videos))
        metric.update(side, MetricBatch(videos=videos, numbers=numbers, features=network(videos)))
    return metric.figures()[0].value


def shuffled(videos):
    """Each video's frames in a random order."""
    random = torch.Generator().manual_seed(9)
    return torch.stack([video[torch.randperm(len(video), generator=random)] for video in videos])


def blurred(videos):
    return torch.nn.functional.avg_pool3d(videos, (1, 3, 3), 1, (0, 1, 1), count_include_pad=False)


def still(videos):
    return videos[:, :1].expand_as(videos)


def test_broken_videos_are_further_away():
    """Than other videos of the same kind; the same videos are at distance 0."""
    real, others = squares(200, 0), squares(200, 1)
    assert distance(real, real) == pytest.approx(0, abs=1e-9)
    whole = distance(real, others)
    for broken in (shuffled, blurred, still):
        assert distance(real, broken(others)) > 2 * whole
