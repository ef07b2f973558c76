"""The residual blocks of discriminators (appendix B): ReLU, convolve, twice, then pool; no norm."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from components.layers.factories import conv2d, conv3d
from components.layers.precision import miscomputed, widened, without_autocast
from components.layers.resampling import average_blocks, convolve_and_pool


class DiscriminatorBlock2d(nn.Module):
    """(ReLU)-conv3-ReLU-conv3-(average pool), plus the input (pooled, through a 1x1).

    The 1x1 convolution of the skip, there when the shape changes, runs after the average pooling, with
    which it commutes.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        downsample: whether height and width are halved; both must be even.
        preactivation: whether the block begins with the ReLU; the first block of a network, whose input
            is a picture, does not.
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, downsample: bool = True, preactivation: bool = True
    ) -> None:
        super().__init__()
        self.downsample = downsample
        self.preactivation = preactivation
        self.conv1 = conv2d(in_channels, out_channels)
        self.conv2 = conv2d(out_channels, out_channels)
        changes = downsample or in_channels != out_channels
        self.skip = conv2d(in_channels, out_channels, 1) if changes else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """``(N, in_channels, H, W)`` to ``(N, out_channels, H, W)``, or ``(N, out_channels, H / 2, W / 2)``."""
        main = F.relu(self.conv1(F.relu(x) if self.preactivation else x))
        main = convolve_and_pool(main, self.conv2, (2, 2)) if self.downsample else self.conv2(main)
        skipped: Tensor = self.skip(F.avg_pool2d(x, 2) if self.downsample else x)
        return main + skipped


class DiscriminatorBlock3d(nn.Module):
    """The 2-D block with convolutions over time as well (3x3x3 for 3x3).

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        downsample: whether height and width are halved; both must be even.
        downsample_time: whether the number of frames is halved too (a last odd one is dropped).
        preactivation: whether the block begins with the ReLU.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        downsample: bool = True,
        downsample_time: bool = False,
        preactivation: bool = True,
    ) -> None:
        super().__init__()
        space = 2 if downsample else 1
        self.pool = (2 if downsample_time else 1, space, space)
        self.preactivation = preactivation
        self.conv1 = conv3d(in_channels, out_channels)
        self.conv2 = conv3d(out_channels, out_channels)
        changes = self.pool != (1, 1, 1) or in_channels != out_channels
        self.skip = conv3d(in_channels, out_channels, (1, 1, 1)) if changes else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """``(B, in_channels, T, H, W)``, channels before time, to the same with ``out_channels``, pooled."""
        if miscomputed(x):
            with without_autocast(x):
                return self._convolved(widened(x))
        return self._convolved(x)

    def _convolved(self, x: Tensor) -> Tensor:
        main = F.relu(self.conv1(F.relu(x) if self.preactivation else x))
        main = convolve_and_pool(main, self.conv2, self.pool)
        skipped: Tensor = self.skip(average_blocks(x, self.pool))
        return main + skipped
