"""The residual blocks of generators (appendix B): normalise, ReLU, convolve, twice."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from components.layers.conditional_batch_norm import ConditionalBatchNorm
from components.layers.factories import conv2d
from components.layers.folding import fold_time, unfold_time
from components.layers.resampling import upsample_and_convolve
from components.layers.separable_conv3d import SeparableConv3d


class GeneratorBlock2d(nn.Module):
    """norm-ReLU-(upsample)-conv3-norm-ReLU-conv3 on each frame, plus the input (upsampled, through a 1x1).

    Only the norms know of time. The 1x1 convolution of the skip, there when the shape changes, runs before
    the nearest-neighbour upsampling, with which it commutes.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        condition_dim: length of the norms' condition.
        upsample: whether height and width are doubled.
    """

    def __init__(self, in_channels: int, out_channels: int, condition_dim: int, *, upsample: bool = False) -> None:
        super().__init__()
        self.upsample = upsample
        self.norm1 = ConditionalBatchNorm(in_channels, condition_dim)
        self.conv1 = conv2d(in_channels, out_channels)
        self.norm2 = ConditionalBatchNorm(out_channels, condition_dim)
        self.conv2 = conv2d(out_channels, out_channels)
        changes = upsample or in_channels != out_channels
        self.skip = conv2d(in_channels, out_channels, 1) if changes else nn.Identity()

    def forward(self, x: Tensor, condition: Tensor, start: int = 0) -> Tensor:
        """Apply the block.

        Args:
            x: ``(B, T, in_channels, H, W)``.
            condition: ``(B, condition_dim)``.
            start: which frame of its video the first frame of ``x`` is.

        Returns:
            Tensor: ``(B, T, out_channels, H, W)``, or ``(B, T, out_channels, 2H, 2W)``.
        """
        frames = x.shape[1]
        main = fold_time(F.relu(self.norm1(x, condition, start)))
        main = upsample_and_convolve(main, self.conv1) if self.upsample else self.conv1(main)
        main = unfold_time(main, frames)
        main = self.conv2(fold_time(F.relu(self.norm2(main, condition, start))))
        skipped: Tensor = self.skip(fold_time(x))
        if self.upsample:
            skipped = F.interpolate(skipped, scale_factor=2.0, mode="nearest")
        return unfold_time(main + skipped, frames)


class GeneratorBlock3d(nn.Module):
    """norm-ReLU-conv-norm-ReLU-conv with separable 3-D convolutions, plus the input (through a 1x1).

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        condition_dim: length of the norms' condition.
    """

    field_of_view = SeparableConv3d.field_of_view + SeparableConv3d.field_of_view

    def __init__(self, in_channels: int, out_channels: int, condition_dim: int) -> None:
        super().__init__()
        self.norm1 = ConditionalBatchNorm(in_channels, condition_dim)
        self.conv1 = SeparableConv3d(in_channels, out_channels)
        self.norm2 = ConditionalBatchNorm(out_channels, condition_dim)
        self.conv2 = SeparableConv3d(out_channels, out_channels)
        self.skip = conv2d(in_channels, out_channels, 1) if in_channels != out_channels else nn.Identity()

    def forward(self, x: Tensor, condition: Tensor, start: int = 0) -> Tensor:
        """Apply the block: ``(B, T, in_channels, H, W)`` to ``(B, T, out_channels, H, W)``; see the 2-D block."""
        main: Tensor = self.conv1(F.relu(self.norm1(x, condition, start)))
        main = self.conv2(F.relu(self.norm2(main, condition, start)))
        skipped: Tensor = self.skip(fold_time(x))
        return main + unfold_time(skipped, x.shape[1])
