"""Standing statistics are those of whole videos, in whatever pieces their sources come."""

import pytest
import torch
from stage_makers import ready

from components.clip import Clip, Span
from components.generators import DVDGenerator, UpsamplingGenerator
from components.layers import standing_statistics
from components.layers.standing_statistics import conditional_batch_norms
from components.views import NearestView
from framework.cascade import Cascade, Link
from framework.randomness import reseed
from framework.statistics import estimate

OPTIONS = {"channels": 2, "multipliers": (2, 2), "noise_dim": 4, "embedding_dim": 3}


def upsampling(layer: str) -> UpsamplingGenerator:
    torch.manual_seed(1)
    return UpsamplingGenerator(Clip(4, 8, 8), NearestView(time=2, space=2), None, temporal_layer=layer, **OPTIONS)


@pytest.mark.parametrize("layer", ["separable", "convgru", "resnet3d"])
@pytest.mark.parametrize("frames", [12, 11])
@pytest.mark.parametrize("window", [1, 8])
def test_every_frame_is_seen_once_and_whole(layer, frames, window):
    """As by hand over whole videos: also where a norm would see frames that the end of a window has touched."""
    torch.manual_seed(0)
    base = ready(DVDGenerator(Clip(6, 4, 4), None, **{**OPTIONS, "multipliers": (2,)}), 6, None, None).eval()
    sources = Cascade([Link("base", Clip(6, 4, 4), base, window)])
    found, expected = upsampling(layer), upsampling(layer)
    estimate(found, sources, frames, 3, lambda _: None, passes=2, batch=3, place=(5, "full"))
    with torch.no_grad(), standing_statistics(expected, frames):
        for number in range(2):
            reseed(5, "full", "statistics", number)
            z = torch.randn(3, 4)
            [x_l] = sources.videos(sources.noise(3), None, 6).values()
            expected(z, None, x_l, Span.whole(frames))
    for norm, other in zip(conditional_batch_norms(found), conditional_batch_norms(expected), strict=True):
        assert norm.batches_tracked.tolist() == [2] * frames
        torch.testing.assert_close(norm.running_mean, other.running_mean, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(norm.running_var, other.running_var, rtol=1e-4, atol=1e-5)
