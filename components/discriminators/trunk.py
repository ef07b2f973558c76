"""The network that the spatial, temporal and matching discriminators share (appendix B).

Letters: B clips, T frames, C channels, H and W pixels, D features.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from components.layers.attention import AXES, IN_A_FRAME, SeparableAttention, check_resolutions
from components.layers.discriminator_block import DiscriminatorBlock2d, DiscriminatorBlock3d
from components.layers.folding import fold_time, lying, unfold_time
from components.layers.precision import widened
from registry import InputError

SMALLEST_SIZE = 4
"""Pixels: blocks halve their input as long as no side gets smaller than this."""


class DiscriminatorTrunk(nn.Module):
    """Residual blocks, a ReLU, and a sum over space: one feature vector per timestep.

    The first ``blocks_3d`` blocks are 3-D, the rest look at each timestep on its own. Blocks halve height
    and width until 4x4 is reached, and keep the size after that. Reading of the paper for other sizes:
    blocks halve as long as both sides are even and their halves at least 4, so 20x20 ends at 5x5.

    Args:
        in_channels: C of the input.
        size: height and width of the input.
        channels: base number of channels.
        multipliers: the output channels of each block, in units of ``channels``.
        blocks_3d: how many blocks are 3-D, from the first one on.
        halve_time: whether each 3-D block halves the number of frames too.
        attention: resolutions (heights, where pictures are not square) after whose block or blocks self-attention
            follows: over height and width; where there are 3-D blocks, over time too.

    Raises:
        InputError: on ``multipliers``, when there is none; on ``attention``, when no block has such an output.
    """

    def __init__(
        self,
        in_channels: int,
        size: tuple[int, int],
        *,
        channels: int,
        multipliers: tuple[int, ...],
        blocks_3d: int = 0,
        halve_time: bool = False,
        attention: tuple[int, ...] = (),
    ) -> None:
        super().__init__()
        self.channels_last = True
        """How features lie in memory. Set by :func:`~components.layers.lay_channels_last`."""
        if not multipliers:
            raise InputError.of("multipliers", "there is no block", allowed="at least one multiplier")
        self.blocks_3d = nn.ModuleList()
        self.blocks_2d = nn.ModuleList()
        self.attention = nn.ModuleDict()
        """By the number of the block that it follows."""
        sizes: list[int] = []
        for index, multiplier in enumerate(multipliers):
            out_channels, halves = channels * multiplier, _can_halve(size)
            # As in BigGAN, the network's input, which is a picture, is not rectified.
            preactivation = index > 0
            if index < blocks_3d:
                self.blocks_3d.append(
                    DiscriminatorBlock3d(
                        in_channels,
                        out_channels,
                        downsample=halves,
                        downsample_time=halve_time,
                        preactivation=preactivation,
                    )
                )
            else:
                self.blocks_2d.append(
                    DiscriminatorBlock2d(in_channels, out_channels, downsample=halves, preactivation=preactivation)
                )
            in_channels = out_channels
            size = (size[0] // 2, size[1] // 2) if halves else size
            sizes.append(size[0])
            if size[0] in attention:
                axes = AXES if blocks_3d else IN_A_FRAME
                self.attention[str(index)] = SeparableAttention(in_channels, axes)
        check_resolutions(attention, sizes, "block")
        self.features = in_channels
        """Length of a feature vector, D."""
        self.final_size = size
        """Height and width that the features are summed over."""

    def forward(self, x: Tensor) -> Tensor:
        """Features ``(B, T, D)`` of videos ``(B, T, C, H, W)``; T is halved by each 3-D block with ``halve_time``."""
        x = lying(x, channels_last=self.channels_last)
        for index, block in enumerate(self.blocks_3d):
            x = self._attended(index, block(x.transpose(1, 2)).transpose(1, 2))
        frames = x.shape[1]
        for index, block in enumerate(self.blocks_2d, start=len(self.blocks_3d)):
            x = self._attended(index, unfold_time(block(fold_time(x)), frames))
        return unfold_time(widened(F.relu(fold_time(x))).sum(dim=(-2, -1)), frames)

    def recomputable(self) -> list[nn.Module]:
        """The blocks, and the attention between them."""
        return [*self.blocks_3d, *self.blocks_2d, *self.attention.values()]

    def _attended(self, index: int, x: Tensor) -> Tensor:
        """The output of block ``index``, with its attention if it has one."""
        number = str(index)
        attended: Tensor = self.attention[number](x) if number in self.attention else x
        return attended


def _can_halve(size: tuple[int, int]) -> bool:
    return all(side % 2 == 0 and side // 2 >= SMALLEST_SIZE for side in size)
