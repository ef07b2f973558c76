"""The classifier's network: what its blocks compute, the videos that it takes, and what it refuses."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from components import Clip
from components.classifiers import VideoClassifier
from components.classifiers.video_classifier import SeparableBlock
from registry import CLASSIFIERS, InputError, use


def in_three_dimensions(layer, x, stride):
    """A separable layer by torch's 3-D convolutions and norms, on ``(B, C, T, H, W)``."""
    time, space = layer.temporal.weight.unsqueeze(-1), layer.spatial.weight.unsqueeze(2)
    norms = [
        (norm.running_mean, norm.running_var, norm.weight, norm.bias)
        for norm in (layer.temporal_norm, layer.spatial_norm)
    ]
    x = F.conv3d(x, time, padding=(time.shape[2] // 2, 0, 0))
    x = torch.relu(F.batch_norm(x, *norms[0]))
    x = F.conv3d(x, space, stride=(1, stride, stride), padding=(0, 1, 1))
    return F.batch_norm(x, *norms[1])


@settings(max_examples=10, deadline=None)
@given(
    frames=st.integers(1, 5),
    height=st.integers(1, 7),
    width=st.integers(1, 7),
    stride=st.integers(1, 2),
    kernel=st.sampled_from([1, 3, 5]),
)
@torch.no_grad()
def test_blocks_against_three_dimensional_convolutions(frames, height, width, stride, kernel):
    """Folded 2-D convolutions are separable 3-D ones, whatever the size."""
    torch.manual_seed(0)
    block = SeparableBlock(2, 3, kernel, stride).eval()
    for name, tensor in block.state_dict().items():
        if "norm" in name and tensor.ndim:
            tensor.uniform_(0.5, 1.5)
    x = torch.randn(2, 2, frames, height, width)
    main = in_three_dimensions(block.second, torch.relu(in_three_dimensions(block.first, x, stride)), 1)
    skipped = F.conv3d(x, block.skip.weight.unsqueeze(2), block.skip.bias, stride=(1, stride, stride))
    expected = torch.relu(main + skipped)
    torch.testing.assert_close(block(x.transpose(1, 2)).transpose(1, 2), expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_what_comes_out():
    """Features are as long as the last block has channels, whatever the length; scores are linear in them."""
    network = CLASSIFIERS.build(use("VideoClassifier", channels=3, multipliers=[1, 4]), clip=Clip(8, 12, 10), classes=5)
    network.eval()
    for frames in (3, 8, 11):
        pooled, logits = network(torch.randn(2, frames, 3, 12, 10))
        assert (pooled.shape, logits.shape, network.dim) == ((2, 12), (2, 5), 12)
        torch.testing.assert_close(logits, F.linear(pooled, network.head.weight, network.head.bias))
    still = torch.randn(1, 1, 3, 12, 10).expand(1, 9, 3, 12, 10)
    moving = torch.randn(1, 9, 3, 12, 10)
    reverse = [torch.allclose(network(x)[0], network(x.flip(1))[0], atol=1e-6) for x in (still, moving)]
    assert reverse == [True, False]


def test_it_learns():
    """Directions of motion, which no single frame tells: a few updates tell them apart."""
    torch.manual_seed(0)
    network = VideoClassifier(Clip(4, 8, 8, channels=1), 2, channels=4, multipliers=(1, 2))
    start = torch.randint(8, (32,))
    labels = torch.arange(32) % 2
    videos = torch.zeros(32, 4, 1, 8, 8)
    for t in range(4):
        videos[torch.arange(32), t, 0, :, (start + t * (2 * labels - 1)) % 8] = 1
    adam = torch.optim.Adam(network.parameters(), 0.02)
    for _ in range(30):
        adam.zero_grad()
        nn.functional.cross_entropy(network(videos)[1], labels).backward()
        adam.step()
    assert (network(videos)[1].argmax(1) == labels).float().mean() > 0.9


@pytest.mark.parametrize("shape", [(2, 2, 3, 8, 8), (2, 3, 3, 8, 9), (2, 3, 1, 8, 8), (3, 3, 8, 8)])
def test_other_videos_are_refused(shape):
    """Of fewer frames than one convolution sees, of another size, of other colours, pictures."""
    network = VideoClassifier(Clip(8, 8, 8), 2, channels=1, multipliers=(1,))
    with pytest.raises(InputError, match=r"^videos: "):
        network(torch.zeros(shape))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"multipliers": []}, "multipliers: 0 blocks do not fit frames of 8x8; allowed: 1 to 3"),
        ({"multipliers": [1] * 4}, "multipliers: 4 blocks do not fit frames of 8x8; allowed: 1 to 3"),
        ({"temporal_kernel": 2}, "temporal_kernel: 2 is even; allowed: an odd number"),
        ({"temporal_kernel": 9}, "temporal_kernel: 9 is not allowed"),
        ({"chanels": 2}, "chanels: 'chanels' is not an option of VideoClassifier.*did you mean 'channels'"),
    ],
)
def test_options_are_checked(options, said):
    """Each by its name, with what is allowed."""
    with pytest.raises(InputError, match=f"^{said}"):
        CLASSIFIERS.build(use("VideoClassifier", **options), clip=Clip(8, 8, 8), classes=2)
