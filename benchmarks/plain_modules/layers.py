"""Layers as the paper's appendix says them, one operation after the other.

Videos are ``(B, T, C, H, W)`` and lie in memory as they are written; layers of pictures fold time into the batch.
"""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

M = TypeVar("M", bound=nn.Module)


def normalised(layer: M) -> M:
    """``layer`` with torch's own spectral norm: in training mode one power iteration at every read of the weight."""
    spectral_norm(layer)
    return layer


def conv2d(in_channels: int, out_channels: int, kernel: int = 3) -> nn.Conv2d:
    """A 2-D convolution that keeps the size."""
    return normalised(nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2))


def conv3d(in_channels: int, out_channels: int, kernel: tuple[int, int, int] = (3, 3, 3)) -> nn.Conv3d:
    """A 3-D convolution that keeps the size."""
    padding = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
    return normalised(nn.Conv3d(in_channels, out_channels, kernel, padding=padding))


class ConvGRU(nn.Module):
    """Frame by frame, each gate a convolution of ``[x; h]``."""

    def __init__(self, in_channels: int, hidden_channels: int) -> None:
        super().__init__()
        self.hidden_channels = hidden_channels
        self.reset = conv2d(in_channels + hidden_channels, hidden_channels)
        self.update = conv2d(in_channels + hidden_channels, hidden_channels)
        self.candidate = conv2d(in_channels + hidden_channels, hidden_channels)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, T, C, H, W)`` to the states ``(B, T, hidden_channels, H, W)``."""
        h = x.new_zeros(x.shape[0], self.hidden_channels, *x.shape[3:])
        states = []
        for frame in x.unbind(1):
            both = torch.cat([frame, h], dim=1)
            r, u = torch.sigmoid(self.reset(both)), torch.sigmoid(self.update(both))
            c = F.relu(self.candidate(torch.cat([frame, r * h], dim=1)))
            h = u * h + (1 - u) * c
            states.append(h)
        return torch.stack(states, dim=1)


class SeparableConv3d(nn.Module):
    """A 3x1x1 and then a 1x3x3 convolution."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.temporal = conv3d(in_channels, out_channels, (3, 1, 1))
        self.spatial = conv3d(out_channels, out_channels, (1, 3, 3))

    def forward(self, x: Tensor) -> Tensor:
        """``(B, T, C, H, W)`` to ``(B, T, C', H, W)``."""
        return self.spatial(self.temporal(x.transpose(1, 2))).transpose(1, 2)


class ConditionalBatchNorm(nn.Module):
    """Each timestep normalised by itself, over the batch and space; gain and bias from the condition."""

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, condition_dim: int, frames: int) -> None:
        super().__init__()
        self.gain = normalised(nn.Linear(condition_dim, channels, bias=False))
        self.bias = normalised(nn.Linear(condition_dim, channels, bias=False))
        self.register_buffer("running_mean", torch.zeros(frames, channels))
        self.register_buffer("running_var", torch.ones(frames, channels))

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """``(B, T, C, H, W)`` given ``(B, condition_dim)``."""
        frames = x.shape[1]
        # A channel for each timestep and channel: torch's batch norm then has statistics for each.
        flat = F.batch_norm(
            x.flatten(1, 2),
            self.running_mean[:frames].view(-1),
            self.running_var[:frames].view(-1),
            training=self.training,
        )
        gain, bias = 1 + self.gain(condition), self.bias(condition)
        return flat.view(x.shape) * gain[:, None, :, None, None] + bias[:, None, :, None, None]


class GeneratorBlock(nn.Module):
    """norm-ReLU-(upsample)-conv-norm-ReLU-conv, plus the input (upsampled, through a 1x1)."""

    def __init__(self, channels: int, condition_dim: int, frames: int, *, upsample: bool) -> None:
        super().__init__()
        self.upsample = upsample
        self.norm1 = ConditionalBatchNorm(channels, condition_dim, frames)
        self.conv1 = conv2d(channels, channels)
        self.norm2 = ConditionalBatchNorm(channels, condition_dim, frames)
        self.conv2 = conv2d(channels, channels)
        self.skip = conv2d(channels, channels, 1) if upsample else nn.Identity()

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """``(B, T, C, H, W)`` to the same, or to twice the size."""
        frames = x.shape[1]
        main = self.conv1(self._larger(F.relu(self.norm1(x, condition)).flatten(0, 1)))
        main = F.relu(self.norm2(main.unflatten(0, (-1, frames)), condition)).flatten(0, 1)
        return (self.conv2(main) + self.skip(self._larger(x.flatten(0, 1)))).unflatten(0, (-1, frames))

    def _larger(self, x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=2, mode="nearest") if self.upsample else x


class DiscriminatorBlock(nn.Module):
    """(ReLU)-conv-ReLU-conv-(average pool), plus the input (through a 1x1, pooled); of pictures or of videos."""

    def __init__(self, in_channels: int, out_channels: int, *, video: bool, first: bool, pool: tuple[int, ...]) -> None:
        super().__init__()
        self.first, self.pool = first, pool
        self.average = F.avg_pool3d if video else F.avg_pool2d
        one = (1, 1, 1)
        self.conv1 = conv3d(in_channels, out_channels) if video else conv2d(in_channels, out_channels)
        self.conv2 = conv3d(out_channels, out_channels) if video else conv2d(out_channels, out_channels)
        self.skip: nn.Module = nn.Identity()
        if in_channels != out_channels or max(pool) > 1:
            self.skip = conv3d(in_channels, out_channels, one) if video else conv2d(in_channels, out_channels, kernel=1)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, C, H, W)``, or ``(B, C, T, H, W)``, to fewer pixels of more channels."""
        main = self.conv2(F.relu(self.conv1(x if self.first else F.relu(x))))
        return self._smaller(main) + self._smaller(self.skip(x))

    def _smaller(self, x: Tensor) -> Tensor:
        return self.average(x, self.pool) if max(self.pool) > 1 else x
