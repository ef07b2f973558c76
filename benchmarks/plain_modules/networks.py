"""The paper's generators and discriminators (appendix B) of plain layers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from plain_modules.layers import (
    ConditionalBatchNorm,
    ConvGRU,
    DiscriminatorBlock,
    GeneratorBlock,
    SeparableConv3d,
    conv2d,
    normalised,
)


class Unit(nn.Module):
    """A temporal layer and two residual blocks; x_l is added after each as long as they are not larger than it."""

    def __init__(
        self, temporal: nn.Module, channels: int, condition: int, frames: int, size: int, target: int, low: int
    ) -> None:
        super().__init__()
        self.temporal = temporal
        self.block1 = GeneratorBlock(channels, condition, frames, upsample=False)
        self.block2 = GeneratorBlock(channels, condition, frames, upsample=target > size)
        sizes = {"temporal": size, "block1": size, "block2": target}
        self.from_low = nn.ModuleDict({name: conv2d(3, channels, 1) for name, at in sizes.items() if at <= low})

    def forward(self, x: Tensor, condition: Tensor, low: Tensor | None) -> Tensor:
        """``(B, T, C, H, W)`` to ``(B, T, channels, H', W')``."""
        x = self._add("temporal", self.temporal(x), low)
        x = self._add("block1", self.block1(x, condition), low)
        return self._add("block2", self.block2(x, condition), low)

    def _add(self, layer: str, x: Tensor, low: Tensor | None) -> Tensor:
        if low is None or layer not in self.from_low:
            return x
        resized = F.interpolate(low.flatten(0, 1), size=x.shape[3:], mode="nearest")
        return x + self.from_low[layer](resized).unflatten(0, (-1, x.shape[1]))


class Generator(nn.Module):
    """Noise, perhaps a class, perhaps x_l, to a video of a fixed size; any number of frames up to ``frames``.

    Args:
        size: pixels a side.
        frames: the most frames.
        classes: number of classes or None.
        channels: base number of channels.
        multipliers: of it, one for each unit.
        noise_dim: length of z.
        embedding_dim: length of a class's embedding.
        low: pixels a side of x_l; 0 is a base generator.
        recurrent: whether the temporal layers are ConvGRUs.
    """

    def __init__(
        self,
        size: int,
        frames: int,
        classes: int | None,
        *,
        channels: int,
        multipliers: Sequence[int],
        noise_dim: int,
        embedding_dim: int,
        low: int = 0,
        recurrent: bool = True,
    ) -> None:
        super().__init__()
        self.frames, self.noise_dim = frames, noise_dim
        self.embedding = None if classes is None else nn.Embedding(classes, embedding_dim)
        condition = noise_dim + (embedding_dim if classes is not None else 0)
        widths = [channels * multiplier for multiplier in multipliers]
        self.to_features = normalised(nn.Linear(condition, widths[0] * 16))
        layer = ConvGRU if recurrent else SeparableConv3d
        units, before, at = [], widths[0], 4
        for width in widths:
            target = min(2 * at, size)
            units.append(Unit(layer(before, width), width, condition, frames, at, target, low))
            before, at = width, target
        self.units = nn.ModuleList(units)
        self.norm = ConditionalBatchNorm(before, condition, frames)
        self.to_pixels = conv2d(before, 3)

    def forward(self, z: Tensor, y: Tensor | None, x_l: Tensor | None = None, frames: int | None = None) -> Tensor:
        """Videos ``(B, frames, 3, size, size)``; with x_l, of its frames, each repeated to fill ``self.frames``."""
        frames = frames or self.frames
        condition = z if self.embedding is None else torch.cat([z, self.embedding(y)], dim=1)
        low = None if x_l is None else x_l.repeat_interleave(frames // x_l.shape[1], dim=1)
        x = self.to_features(condition).view(len(z), -1, 4, 4).unsqueeze(1).repeat(1, frames, 1, 1, 1)
        for unit in self.units:
            x = unit(x, condition, low)
        x = F.relu(self.norm(x, condition))
        return torch.tanh(self.to_pixels(x.flatten(0, 1))).unflatten(0, (-1, frames))


class Head(nn.Module):
    """A linear map and the projection on the class's embedding."""

    def __init__(self, features: int, classes: int | None) -> None:
        super().__init__()
        self.linear = normalised(nn.Linear(features, 1))
        self.embedding = None if classes is None else normalised(nn.Embedding(classes, features))

    def forward(self, h: Tensor, y: Tensor | None) -> Tensor:
        """``(B, K, features)`` to ``(B, K)``."""
        scores = self.linear(h).squeeze(-1)
        return scores if self.embedding is None else scores + (self.embedding(y).unsqueeze(1) * h).sum(-1)


class Discriminator(nn.Module):
    """Residual blocks, the first ones 3-D, a sum over space, and the head: a score for each timestep.

    Args:
        in_channels: of the input.
        size: pixels a side of the input.
        classes: number of classes or None.
        channels: base number of channels.
        multipliers: of it, one for each block.
        blocks_3d: how many blocks are 3-D.
        halve_time: whether these halve the number of frames.
    """

    def __init__(
        self,
        in_channels: int,
        size: int,
        classes: int | None,
        *,
        channels: int,
        multipliers: Sequence[int],
        blocks_3d: int,
        halve_time: bool = False,
    ) -> None:
        super().__init__()
        blocks: list[nn.Module] = []
        for number, multiplier in enumerate(multipliers):
            factor = 2 if size >= 8 else 1
            video = number < blocks_3d
            pool = ((2 if halve_time else 1,) if video else ()) + (factor, factor)
            width = channels * multiplier
            blocks.append(DiscriminatorBlock(in_channels, width, video=video, first=number == 0, pool=pool))
            in_channels, size = width, size // factor
        self.blocks_3d = nn.ModuleList(blocks[:blocks_3d])
        self.blocks_2d = nn.ModuleList(blocks[blocks_3d:])
        self.head = Head(in_channels, classes)

    def forward(self, x: Tensor, y: Tensor | None) -> Tensor:
        """Scores ``(B, T')`` of ``(B, T, C, H, W)``."""
        if len(self.blocks_3d):
            x = x.transpose(1, 2)
            for block in self.blocks_3d:
                x = block(x)
            x = x.transpose(1, 2)
        frames = x.shape[1]
        x = x.flatten(0, 1)
        for block in self.blocks_2d:
            x = block(x)
        return self.head(F.relu(x).sum((2, 3)).unflatten(0, (-1, frames)), y)
