"""The separable 3-D convolution against torch's 3-D convolution."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from components.layers import SeparableConv3d


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    channels=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    frames=st.integers(1, 5),
    size=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    channels_last=st.booleans(),
)
def test_equals_two_3d_convolutions(seed, channels, frames, size, channels_last):
    """A (3, 1, 1) and then a (1, 3, 3) convolution of the video with channels before time."""
    torch.manual_seed(seed)
    layer = SeparableConv3d(*channels).double().eval()
    torch.nn.init.normal_(layer.temporal.bias)
    torch.nn.init.normal_(layer.spatial.bias)
    x = torch.randn(2, frames, channels[0], *size, dtype=torch.double)
    if channels_last:
        x = x.permute(0, 1, 3, 4, 2).contiguous().permute(0, 1, 4, 2, 3)

    expected = F.conv3d(x.transpose(1, 2), layer.temporal.weight.unsqueeze(-1), layer.temporal.bias, padding=(1, 0, 0))
    expected = F.conv3d(expected, layer.spatial.weight.unsqueeze(2), layer.spatial.bias, padding=(0, 1, 1))
    torch.testing.assert_close(layer(x), expected.transpose(1, 2))


def test_depends_on_one_frame_to_each_side():
    """Changing a frame changes it and its two neighbours, as the field of view says."""
    layer, x = SeparableConv3d(2, 3).double().eval(), torch.rand(1, 7, 2, 3, 3, dtype=torch.double)
    changed = x.clone()
    changed[:, 3] += 1
    differs = (layer(changed) - layer(x)).abs().amax(dim=(0, 2, 3, 4)) > 0
    assert differs.nonzero().flatten().tolist() == [2, 3, 4]
    assert (layer.field_of_view.past, layer.field_of_view.future) == (1, 1)
