"""Convolutions merged with upsampling or pooling against the two steps one after the other."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from components.layers import conv2d, conv3d
from components.layers.resampling import average_blocks, convolve_and_pool, upsample_and_convolve

SEEDS = st.integers(0, 2**32 - 1)
SIZES = st.integers(2, 7)


def ready(layer: torch.nn.Module) -> torch.nn.Module:
    torch.nn.init.normal_(layer.bias)
    return layer.double().eval()


@settings(max_examples=10, deadline=None)
@given(seed=SEEDS, channels=st.tuples(st.integers(1, 3), st.integers(1, 3)), height=SIZES, width=SIZES)
def test_upsampling_then_convolution(seed, channels, height, width):
    """A transposed convolution with the widened kernel is nearest upsampling and the convolution, borders included."""
    torch.manual_seed(seed)
    layer, x = ready(conv2d(*channels)), torch.randn(2, channels[0], height, width).double()
    plain = layer(F.interpolate(x, scale_factor=2, mode="nearest"))
    torch.testing.assert_close(upsample_and_convolve(x, layer), plain)


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS, size=st.lists(SIZES, min_size=2, max_size=3), data=st.data())
def test_convolution_then_pooling(seed, size, data):
    """A strided convolution with the widened kernel is the convolution and average pooling, odd sizes included."""
    torch.manual_seed(seed)
    factors = data.draw(st.tuples(*[st.integers(1, 2)] * len(size)))
    make, pool = (conv2d, F.avg_pool2d) if len(size) == 2 else (conv3d, F.avg_pool3d)
    layer, x = ready(make(2, 3)), torch.randn(2, 2, *size).double()
    torch.testing.assert_close(convolve_and_pool(x, layer, factors), pool(layer(x), factors))


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS, size=st.tuples(SIZES, SIZES, SIZES), factors=st.tuples(*[st.integers(1, 2)] * 3), last=st.booleans())
def test_averages_of_blocks(seed, size, factors, last):
    """Those of torch's 3-D pooling, with its gradient, in either memory format, which stays; odd sizes included."""
    torch.manual_seed(seed)
    lies = torch.channels_last_3d if last else torch.contiguous_format
    xs = [torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(seed)).double() for _ in range(2)]
    one, other = (x.contiguous(memory_format=lies).requires_grad_() for x in xs)
    ours, plain = average_blocks(one, factors), F.avg_pool3d(other, factors)
    torch.testing.assert_close(ours, plain)
    if last:
        assert ours.is_contiguous(memory_format=lies)
    weights = torch.randn_like(plain)
    (ours * weights).sum().backward()
    (plain * weights).sum().backward()
    torch.testing.assert_close(one.grad, other.grad)
