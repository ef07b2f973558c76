"""Separable self-attention against softmax attention written out line by line."""

import sys

import pytest
import torch
from torch import nn

from components.layers import SeparableAttention, differentiate_twice
from components.layers.attention import attend

attention_module = sys.modules["components.layers.attention"]
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


@pytest.mark.parametrize("twice", [False, True])
def test_gradients(twice):
    """By finite differences, of the video, every weight and the gain; those of gradients too, when asked for."""
    attention, x = make(("height", "time")), torch.randn(1, 2, 3, 3, 2, dtype=torch.double, requires_grad=True)
    names = [name for name, _ in attention.named_parameters()]
    weights = [value.detach().requires_grad_() for value in attention.parameters()]

    def call(x, *weights):
        return torch.func.functional_call(attention, dict(zip(names, weights, strict=True)), (x,))

    if twice:
        differentiate_twice(attention)
    check = torch.autograd.gradgradcheck if twice else torch.autograd.gradcheck
    assert check(call, (x, *weights))


def test_gradients_of_gradients_are_there_only_when_asked_for():
    """The fused kernel has none; asked for them, attention gives the same video to rounding."""
    attention, x = make(("width",)), torch.randn(1, 2, 3, 4, 4, dtype=torch.double, requires_grad=True)
    fused = attention(x)
    (slope,) = torch.autograd.grad(fused.square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="not implemented"):
        slope.square().sum().backward()
    differentiate_twice(attention)
    plain = attention(x)
    torch.testing.assert_close(plain, fused)
    (slope,) = torch.autograd.grad(plain.square().sum(), x, create_graph=True)
    slope.square().sum().backward()
    assert x.grad.abs().sum() > 0


@pytest.mark.parametrize("twice", [False, True])
def test_many_lines_are_computed_in_parts(twice, monkeypatch):
    """With a limit of three in place of 65,535: no call has more lines along a dimension, and nothing changes."""
    sizes = []
    for name in ("backend", "written_out"):
        original = getattr(attention_module, name)

        def spied(q, *rest, original=original, chooses=name == "backend"):
            if not chooses or not twice:
                sizes.append((q.shape[0], q.shape[2]))
            return original(q, *rest)

        monkeypatch.setattr(attention_module, name, spied)
    q, k, v = (torch.randn(7, 5, 4, 2, dtype=torch.double, requires_grad=True) for _ in range(3))
    parts, whole = (attend(q, k, v, twice=twice, most=most) for most in (3, 100))
    assert sizes == [(n, m) for n in (3, 3, 1) for m in (3, 1)] + [(7, 4)]
    torch.testing.assert_close(parts, whole)
    slopes = [torch.autograd.grad(each.square().sum(), (q, k, v)) for each in (parts, whole)]
    torch.testing.assert_close(*slopes)


def test_an_impossible_number_of_lines(monkeypatch):
    """The layer itself keeps to the limit: along time a 256x256 picture has 65,536 lines."""
    seen = []
    monkeypatch.setattr(attention_module, "backend", lambda q, *_: lambda q, k, v: (seen.append(q.shape[2]), v)[1])
    with torch.device("meta"):
        SeparableAttention(1, ("time",))(torch.zeros(1, 2, 1, 256, 256))
    assert seen == [65_535, 1]
