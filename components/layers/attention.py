"""Separable self-attention: over one axis of a video at a time (Ho et al., 2019; not in the paper)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from components.clip import FieldOfView
from components.layers.factories import linear

Axis = Literal["height", "width", "time"]
AXES: tuple[Axis, ...] = ("height", "width", "time")

DIMENSION = {"time": 1, "height": 2, "width": 3}
"""Where an axis lies in ``(B, T, H, W, C)``."""


class SeparableAttention(nn.Module):
    """Self-attention over each of ``axes`` in turn, each added with a gain that starts at zero.

    Args:
        channels: channels of the video.
        axes: over which axes, in which order.
    """

    def __init__(self, channels: int, axes: Sequence[Axis] = AXES) -> None:
        super().__init__()
        self.axes = tuple(axes)
        self.layers = nn.ModuleDict({axis: AxialAttention(channels, axis) for axis in axes})

    @property
    def field_of_view(self) -> FieldOfView:
        """All frames if time is among the axes, otherwise none beside."""
        return FieldOfView(None, None) if "time" in self.axes else FieldOfView()

    def forward(self, x: Tensor) -> Tensor:
        """``(B, T, C, H, W)`` to the same shape."""
        for axis in self.axes:
            x = x + self.layers[axis](x)
        return x


class AxialAttention(nn.Module):
    """Self-attention along one axis of a video, every line of pixels for itself.

    Args:
        channels: channels of the video.
        axis: along which axis.
    """

    def __init__(self, channels: int, axis: Axis) -> None:
        super().__init__()
        self.axis = axis
        self.to_queries = linear(channels, channels, bias=False)
        self.to_keys = linear(channels, channels, bias=False)
        self.to_values = linear(channels, channels, bias=False)
        self.to_output = linear(channels, channels, bias=False)
        self.gain = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """What is to be added to x, ``(B, T, C, H, W)``; zero at first."""
        lines = x.permute(0, 1, 3, 4, 2).movedim(DIMENSION[self.axis], 3)
        tokens = lines.flatten(0, 2)
        mixed = attend(self.to_queries(tokens), self.to_keys(tokens), self.to_values(tokens))
        added: Tensor = self.gain * self.to_output(mixed).view(lines.shape)
        return added.movedim(3, DIMENSION[self.axis]).permute(0, 1, 4, 2, 3)


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Softmax attention within N lines of tokens ``(N, length, C)``: by xformers on CUDA if installed, else torch."""
    xformers = _xformers_ops() if q.is_cuda else None
    if xformers is not None:
        mixed: Tensor = xformers.memory_efficient_attention(q, k, v)
        return mixed
    return F.scaled_dot_product_attention(q, k, v)


@cache
def _xformers_ops() -> Any | None:
    """Imported only when needed: it has no CPU operator, and importing it on a CPU warns."""
    try:
        from xformers import ops
    except ImportError:
        return None
    return ops
