"""The ConvGRU against its equations written down step by step."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from components.layers import ConvGRU


def plain_conv_gru(gru: ConvGRU, x: torch.Tensor, h: torch.Tensor) -> torch.Tensor:
    """The four equations, one step after the other, each convolution over the concatenation."""

    def convolve(gate, value):
        return F.conv2d(value, gate.weight, gate.bias, padding="same")

    states = []
    for x_t in x.unbind(1):
        xh = torch.cat([x_t, h], dim=1)
        r = torch.sigmoid(convolve(gru.reset, xh))
        u = torch.sigmoid(convolve(gru.update, xh))
        c = torch.relu(convolve(gru.candidate, torch.cat([x_t, r * h], dim=1)))
        h = u * h + (1 - u) * c
        states.append(h)
    return torch.stack(states, dim=1)


def random_gru(in_channels: int, hidden_channels: int, kernel: int = 3) -> ConvGRU:
    """In double precision and evaluation mode, with biases, so that all of it matters and nothing moves."""
    gru = ConvGRU(in_channels, hidden_channels, kernel).double().eval()
    for gate in (gru.reset, gru.update, gru.candidate):
        torch.nn.init.normal_(gate.bias)
    return gru


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    channels=st.tuples(st.integers(1, 3), st.integers(1, 4)),
    frames=st.integers(1, 4),
    size=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    kernel=st.sampled_from([1, 3, 5]),
    with_state=st.booleans(),
)
def test_equals_the_plain_loop(seed, channels, frames, size, kernel, with_state):
    """Convolving x at once and skipping the zero state changes nothing, in values or gradients."""
    torch.manual_seed(seed)
    gru = random_gru(*channels, kernel)
    x = torch.randn(2, frames, channels[0], *size, dtype=torch.double, requires_grad=True)
    h0 = torch.randn(2, channels[1], *size, dtype=torch.double, requires_grad=True) if with_state else None
    zeros = torch.zeros(2, channels[1], *size, dtype=torch.double)
    inputs = [x, *gru.parameters()] + ([h0] if with_state else [])

    ours, plain = gru(x, h0), plain_conv_gru(gru, x, zeros if h0 is None else h0)
    torch.testing.assert_close(ours, plain)
    weights = torch.randn_like(plain)
    for mine, other in zip(
        torch.autograd.grad((ours * weights).sum(), inputs, allow_unused=True),
        torch.autograd.grad((plain * weights).sum(), inputs, allow_unused=True),
        strict=True,
    ):
        torch.testing.assert_close(mine, other)


@pytest.mark.parametrize("split", [1, 3])
def test_continues_from_a_state(split):
    """A video in two pieces, the second from the first one's last state, is the video in one."""
    gru, x = random_gru(2, 3), torch.randn(1, 4, 2, 3, 3, dtype=torch.double)
    before = gru(x[:, :split])
    after = gru(x[:, split:], before[:, -1])
    torch.testing.assert_close(torch.cat([before, after], dim=1), gru(x))


def test_memory_format_does_not_matter():
    """Channels-last input gives the same values, and stays channels-last."""
    gru, x = random_gru(2, 3), torch.randn(2, 3, 2, 4, 4, dtype=torch.double)
    last = x.permute(0, 1, 3, 4, 2).contiguous().permute(0, 1, 4, 2, 3)
    torch.testing.assert_close(gru(last), gru(x))
    assert gru(last).flatten(0, 1).is_contiguous(memory_format=torch.channels_last)


def test_depends_on_the_past_alone():
    """A frame's output changes with every frame up to it and with none after it, as the field of view says."""
    gru, x = random_gru(2, 8), torch.rand(1, 5, 2, 3, 3, dtype=torch.double)
    changed = x.clone()
    changed[:, 2] += 1
    differs = (gru(changed) - gru(x)).abs().amax(dim=(0, 2, 3, 4)) > 0
    assert differs.tolist() == [False, False, True, True, True]
    assert (gru.field_of_view.past, gru.field_of_view.future) == (None, 0)
