"""Random features: always the same, of the video alone, and called random."""

import json

import pytest
import torch
import torch.nn.functional as F

from components.features import RandomFeatures
from registry import InputError


def videos(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_the_seed_alone_makes_the_weights():
    """Whatever the global generator; the digest tells seeds apart, and all say that they are random."""
    torch.manual_seed(1)
    first = RandomFeatures(seed=3)
    after = torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(1), after)
    torch.manual_seed(2)
    assert RandomFeatures(seed=3).identity() == first.identity() == json.loads(json.dumps(first.identity()))
    assert RandomFeatures(seed=4).identity()["weights"] != first.identity()["weights"]
    assert first.identity()["random"] is True


def test_the_weights_are_those_they_have_always_been():
    """Torch's generator for the CPU promises the same numbers; a figure of last year's can be compared."""
    generator = torch.Generator().manual_seed(0)
    spread = (2 / 27) ** 0.5
    expected = torch.randn(32, 3, 1, 3, 3, generator=generator) * spread
    assert torch.equal(RandomFeatures().layers[0].weight, expected)


@torch.no_grad()
def test_features_against_a_plain_computation():
    """Resized frames through convolutions, ReLUs and means; the smallest video there is."""
    network = RandomFeatures(dim=7, size=16)
    video = videos(2, 5, 3, 20, 24)
    small = F.interpolate(video.flatten(0, 1), (16, 16), mode="bilinear", antialias=True).reshape(2, 5, 3, 16, 16)
    x = small.transpose(1, 2)
    for layer, stride in zip(network.layers, (1, 2, 2), strict=True):
        x = torch.relu(F.conv3d(x, layer.weight, stride=(1, stride, stride), padding=(0, 1, 1)))
    assert x.shape == (2, 7, 1, 4, 4)
    features = network(video)
    torch.testing.assert_close(features.pooled, x.mean((2, 3, 4)))
    assert features.logits is None
    assert (network.dim, network.logits_dim, network.min_frames) == (7, None, 5)


@torch.no_grad()
def test_they_see_the_order_of_frames():
    """A video played in another order has other features."""
    network, video = RandomFeatures(), videos(1, 8, 3, 32, 32)
    assert not torch.allclose(network(video).pooled, network(video[:, torch.randperm(8)]).pooled, rtol=1e-3)


@pytest.mark.parametrize("shape", [(1, 4, 3, 32, 32), (1, 5, 1, 32, 32), (5, 3, 32, 32)])
def test_other_videos_are_refused(shape):
    """Of too few frames, of another number of channels, pictures."""
    with pytest.raises(InputError, match=r"^videos: "):
        RandomFeatures()(torch.zeros(shape))
    RandomFeatures(channels=1)(torch.zeros(1, 5, 1, 32, 32))
