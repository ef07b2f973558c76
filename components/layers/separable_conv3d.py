"""A 3-D convolution taken apart into one over time and one over space (appendix B, upsampling generator)."""

from __future__ import annotations

from torch import Tensor, nn

from components.clip import FieldOfView
from components.layers.factories import conv2d
from components.layers.folding import fold_time, lies_channels_last, lying, unfold_time


class SeparableConv3d(nn.Module):
    """A convolution over time with a kernel of 3, then one over space with a kernel of 3x3; zero padding.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output, and between the two convolutions.
    """

    field_of_view = FieldOfView(past=1, future=1)

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        # Over an image of T by H*W: channels-last, that image is the video's memory as it lies.
        self.temporal = conv2d(in_channels, out_channels, (3, 1))
        self.spatial = conv2d(out_channels, out_channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, T, in_channels, H, W)`` to ``(B, T, out_channels, H, W)``."""
        frames, size = x.shape[1], x.shape[-2:]
        x = lying(x, channels_last=lies_channels_last(x))  # where one frame stands for all, convolutions see no order
        x = self.temporal(x.transpose(1, 2).flatten(3)).unflatten(3, size).transpose(1, 2)
        return unfold_time(self.spatial(fold_time(x)), frames)
