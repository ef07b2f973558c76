"""Separable self-attention against softmax attention written out line by line."""

import pytest
import torch
from torch import nn

from components.layers import SeparableAttention

LINE = {"time": 1, "height": 3, "width": 4}
"""Dimension of ``(B, T, C, H, W)`` that an axis is."""


def plain_attention(layer: nn.Module, line: torch.Tensor) -> torch.Tensor:
    """One line of tokens ``(length, C)``."""
    q, k, v = (line @ part.weight.T for part in (layer.to_queries, layer.to_keys, layer.to_values))
    mixed = torch.softmax(q @ k.T / q.shape[-1] ** 0.5, dim=-1) @ v
    return layer.gain * (mixed @ layer.to_output.weight.T)


def make(axes) -> SeparableAttention:
    attention = SeparableAttention(3, axes).double().eval()
    for layer in attention.layers.values():
        nn.init.constant_(layer.gain, 0.7)
    return attention


@pytest.mark.parametrize("axes", [("height",), ("width",), ("time",), ("height", "width", "time")])
def test_equals_attention_along_each_line(axes):
    """For every axis in turn, each line along it attends to itself alone."""
    attention, x = make(axes), torch.randn(2, 3, 3, 4, 5, dtype=torch.double)
    expected = x
    for axis in axes:
        lines = expected.movedim((LINE[axis], 2), (3, 4))  # three other dimensions, then length and channels
        added = torch.stack([plain_attention(attention.layers[axis], line) for line in lines.flatten(0, 2)])
        expected = expected + added.view(lines.shape).movedim((3, 4), (LINE[axis], 2))
    torch.testing.assert_close(attention(x), expected)


def test_is_the_identity_at_first():
    """The gain starts at zero, and learns."""
    attention, x = SeparableAttention(3), torch.randn(1, 2, 3, 4, 4)
    y = attention(x)
    assert torch.equal(y, x)
    y.square().sum().backward()
    assert all(layer.gain.grad for layer in attention.layers.values())


@pytest.mark.parametrize(("axes", "reach"), [(("height", "width"), 0), (("height", "width", "time"), None)])
def test_field_of_view(axes, reach):
    """Other frames matter when time is an axis, and not otherwise, as the field of view says."""
    attention, x = make(axes), torch.randn(1, 3, 3, 4, 4, dtype=torch.double)
    changed = x.clone()
    changed[:, 1] += torch.randn(3, 4, 4)
    differs = (attention(changed) - attention(x)).abs().amax(dim=(0, 2, 3, 4)) > 0
    assert differs.tolist() == [reach is None, True, reach is None]
    assert (attention.field_of_view.past, attention.field_of_view.future) == (reach, reach)
