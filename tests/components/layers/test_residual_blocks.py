"""The residual blocks of generators and discriminators against their equations, skip path as the paper has it."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from components.layers import (
    DiscriminatorBlock2d,
    DiscriminatorBlock3d,
    GeneratorBlock2d,
    GeneratorBlock3d,
    batch_statistics,
)

D = 3


def ready(block: nn.Module) -> nn.Module:
    """In double precision, still, and with biases that matter."""
    for name, parameter in block.named_parameters():
        if name.endswith("bias"):
            nn.init.normal_(parameter)
    return block.double().eval()


def convolve(layer: nn.Conv2d | nn.Conv3d, x: torch.Tensor) -> torch.Tensor:
    function = F.conv3d if layer.weight.dim() == 5 else F.conv2d
    return function(x, layer.weight, layer.bias, padding="same")


@pytest.mark.parametrize("upsample", [True, False])
@pytest.mark.parametrize("out_channels", [4, 2])
def test_generator_block_2d(upsample, out_channels):
    """norm-ReLU-(up)-conv-norm-ReLU-conv of each frame plus (up)-1x1, the skip upsampled before the 1x1."""
    block = ready(GeneratorBlock2d(4, out_channels, D, upsample=upsample))
    x, condition = torch.randn(2, 3, 4, 5, 2, dtype=torch.double), torch.randn(2, D, dtype=torch.double)

    def up(frames):
        return frames.repeat_interleave(2, -1).repeat_interleave(2, -2) if upsample else frames

    with batch_statistics(block):
        ours = block(x, condition)
        main = block.norm1(x, condition).relu()
        main = convolve(block.conv1, up(main).flatten(0, 1)).unflatten(0, (2, 3))
        main = convolve(block.conv2, block.norm2(main, condition).relu().flatten(0, 1))
    skip = up(x).flatten(0, 1)
    if upsample or out_channels != 4:
        skip = convolve(block.skip, skip)
    torch.testing.assert_close(ours, (main + skip).unflatten(0, (2, 3)))


@pytest.mark.parametrize("out_channels", [4, 2])
def test_generator_block_3d(out_channels):
    """norm-ReLU-conv-norm-ReLU-conv with separable convolutions, plus the input through a 1x1 if channels change."""
    block = ready(GeneratorBlock3d(4, out_channels, D))
    x, condition = torch.randn(2, 3, 4, 5, 2, dtype=torch.double), torch.randn(2, D, dtype=torch.double)
    with batch_statistics(block):
        ours = block(x, condition)
        main = block.conv1(block.norm1(x, condition).relu())
        main = block.conv2(block.norm2(main, condition).relu())
    skip = x if out_channels == 4 else convolve(block.skip, x.flatten(0, 1)).unflatten(0, (2, 3))
    torch.testing.assert_close(ours, main + skip)
    assert (block.field_of_view.past, block.field_of_view.future) == (2, 2)


@pytest.mark.parametrize("preactivation", [True, False])
@pytest.mark.parametrize(("downsample", "out_channels"), [(True, 3), (True, 5), (False, 3), (False, 5)])
def test_discriminator_block_2d(preactivation, downsample, out_channels):
    """(ReLU)-conv-ReLU-conv-(pool) plus 1x1-(pool), the 1x1 before the pooling."""
    block = ready(DiscriminatorBlock2d(3, out_channels, downsample=downsample, preactivation=preactivation))
    x = torch.randn(2, 3, 4, 6, dtype=torch.double)

    def pool(value):
        return value.unflatten(-1, (-1, 2)).unflatten(-3, (-1, 2)).mean(dim=(-1, -3)) if downsample else value

    main = convolve(block.conv2, convolve(block.conv1, x.relu() if preactivation else x).relu())
    skip = convolve(block.skip, x) if downsample or out_channels != 3 else x
    torch.testing.assert_close(block(x), pool(main) + pool(skip))


@pytest.mark.parametrize("downsample_time", [True, False])
@pytest.mark.parametrize("downsample", [True, False])
def test_discriminator_block_3d(downsample, downsample_time):
    """The same with 3x3x3 convolutions; time is pooled only when asked for."""
    block = ready(DiscriminatorBlock3d(3, 5, downsample=downsample, downsample_time=downsample_time))
    x = torch.randn(2, 3, 4, 2, 6, dtype=torch.double)

    def pool(value):
        if downsample:
            value = value.unflatten(-1, (-1, 2)).unflatten(-3, (-1, 2)).mean(dim=(-1, -3))
        return value.unflatten(2, (-1, 2)).mean(dim=3) if downsample_time else value

    main = convolve(block.conv2, convolve(block.conv1, x.relu()).relu())
    assert block.conv1.weight.shape == (5, 3, 3, 3, 3)
    torch.testing.assert_close(block(x), pool(main) + pool(convolve(block.skip, x)))
