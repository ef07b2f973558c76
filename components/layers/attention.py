"""Separable self-attention: over one axis of a video at a time (Ho et al., 2019; not in the paper)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from components.clip import FieldOfView
from components.layers.attention_backends import backend, written_out
from components.layers.factories import linear
from registry import InputError

Axis = Literal["height", "width", "time"]
AXES: tuple[Axis, ...] = ("height", "width", "time")
IN_A_FRAME: tuple[Axis, ...] = ("height", "width")
"""Every frame for itself."""

MOST_LINES = 65_535
"""Lines along a dimension of one call: more are more blocks than CUDA lets kernels have there."""


class SeparableAttention(nn.Module):
    """Self-attention over each of ``axes`` in turn, each added with a gain that starts at zero.

    Args:
        channels: channels of the video.
        axes: over which axes, in which order; each at most once.
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
    """Self-attention along one axis of a video, every line of pixels for itself, with a single head.

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
        self.twice = False
        """Whether gradients will be asked for gradients of their own."""

    def forward(self, x: Tensor) -> Tensor:
        """What is to be added to x, ``(B, T, C, H, W)``; zero at first."""
        tokens = x.permute(0, 1, 3, 4, 2)
        layers = (self.to_queries, self.to_keys, self.to_values)
        q, k, v = (self._lines(layer(tokens)) for layer in layers)
        mixed = attend(q, k, v, twice=self.twice)
        added: Tensor = self.gain * self.to_output(self._tokens(mixed, tokens.shape))
        return added.permute(0, 1, 4, 2, 3)

    def _lines(self, tokens: Tensor) -> Tensor:
        """Tokens ``(B, T, H, W, C)`` as :func:`attend` takes them, where they lie in memory."""
        if self.axis == "time":
            return tokens.flatten(2, 3)
        frames = tokens.flatten(0, 1)
        return frames if self.axis == "height" else frames.transpose(1, 2)

    def _tokens(self, lines: Tensor, shape: torch.Size) -> Tensor:
        """The way back, to ``shape``."""
        return (lines.transpose(1, 2) if self.axis == "width" else lines).reshape(shape)


def attend(q: Tensor, k: Tensor, v: Tensor, *, twice: bool = False, most: int = MOST_LINES) -> Tensor:
    """Softmax attention within lines of tokens: ``(N, length, M, C)``, N times M lines.

    Args:
        q: queries.
        k: keys.
        v: values.
        twice: whether gradients are to have gradients, which takes more time and memory.
        most: larger N and M are computed in parts of so many.

    Returns:
        Tensor: ``(N, length, M, C)``, by the backend of :mod:`components.layers.attention_backends`.
    """
    for dim in (0, 2):
        if q.shape[dim] > most:
            parts = zip(*(torch.split(each, most, dim) for each in (q, k, v)), strict=True)
            return torch.cat([attend(*part, twice=twice, most=most) for part in parts], dim)
    return (written_out if twice else backend(q, k, v))(q, k, v)


def differentiate_twice(network: nn.Module) -> None:
    """From now on compute the attention in ``network`` so that its gradients have gradients."""
    for module in network.modules():
        if isinstance(module, AxialAttention):
            module.twice = True


def check_resolutions(attention: Sequence[int], sizes: Sequence[int], where: str = "unit") -> None:
    """Refuse attention after a ``where`` that is not there.

    Args:
        attention: resolutions asked for.
        sizes: the resolution of each unit's, or block's, output.
        where: what they are called.

    Raises:
        InputError: on ``attention``, with the resolutions that there are.
    """
    for resolution in attention:
        if resolution not in sizes:
            what = f"no {where}'s output is {resolution}x{resolution}"
            raise InputError.of("attention", what, allowed=", ".join(map(str, sorted(set(sizes)))))


def check_axes(axes: Sequence[Axis]) -> None:
    """Refuse no axis, and one twice.

    Raises:
        InputError: on ``attention_axes``.
    """
    if not axes or len(set(axes)) < len(axes):
        what = f"{', '.join(axes)}: one of them twice" if axes else "there is none"
        raise InputError.of("attention_axes", what, allowed=f"each of {', '.join(AXES)} at most once, one at least")
