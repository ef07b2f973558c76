"""A small residual network over space and time."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated

import torch.nn.functional as F
from torch import Tensor, nn

from components.checks import check_shape
from components.classifiers.base import Classifier
from components.clip import Clip
from components.layers import synchronize_batch_norms
from components.layers.folding import fold_time, unfold_time
from registry import CLASSIFIERS, InputError, Positive, Range

KERNEL = 3


@CLASSIFIERS.register
class VideoClassifier(Classifier):
    """Residual blocks of separable 3-D convolutions, each halving the pixels a side, after one layer at full size.

    Every block convolves over time and over space, twice, with batch norm, as in the (2+1)D networks of Tran et al.
    (2018); the last activations are averaged over space and time, and one linear layer scores the classes. All frames
    are kept on the way, so that short clips can be told as well.

    Args:
        clip: what it is trained on.
        classes: how many there are.
        channels: base number of channels.
        multipliers: the channels of each block, in units of ``channels``.
        temporal_kernel: frames that one convolution over time sees, odd; 1 looks at frames one by one.

    Raises:
        InputError: on ``multipliers``, when there is none, or more than the frames can be halved; on
            ``temporal_kernel``, when it is even.
    """

    def __init__(
        self,
        clip: Clip,
        classes: int,
        *,
        channels: Positive = 32,
        multipliers: tuple[Positive, ...] = (1, 2, 4),
        temporal_kernel: Annotated[int, Range(1, 7)] = KERNEL,
    ) -> None:
        super().__init__()
        most = max(1, (min(clip.height, clip.width) - 1).bit_length())  # halvings to a single pixel
        if not 1 <= len(multipliers) <= most:
            what = f"{len(multipliers)} blocks do not fit frames of {clip.height}x{clip.width}"
            raise InputError.of("multipliers", what, f"1 to {most} multipliers")
        if temporal_kernel % 2 == 0:
            raise InputError.of("temporal_kernel", f"{temporal_kernel} is even", "an odd number")
        self.clip, self.classes, self._kernel = clip, classes, temporal_kernel
        widths = [channels * multiplier for multiplier in multipliers]
        self.stem = nn.Conv2d(clip.channels, widths[0], KERNEL, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(widths[0])
        self.blocks = nn.ModuleList(
            SeparableBlock(before, after, temporal_kernel, stride=2) for before, after in pairwise(widths[:1] + widths)
        )
        self.head = nn.Linear(widths[-1], classes)
        synchronize_batch_norms(self)

    @property
    def dim(self) -> int:
        """Channels of the last block."""
        return self.head.in_features

    @property
    def min_frames(self) -> int:
        """As many as one convolution over time sees."""
        return self._kernel

    def forward(self, videos: Tensor) -> tuple[Tensor, Tensor]:
        """Pooled features ``(B, D)`` and logits ``(B, classes)`` of videos ``(B, T, C, H, W)``, values in [-1, 1].

        Raises:
            InputError: on ``videos``, when they have another shape or too few frames.
        """
        check_shape("videos", videos, "B", "T", *self.clip.shape(1)[2:])
        if videos.shape[1] < self.min_frames:
            what = f"{videos.shape[1]} frames are fewer than one convolution over time sees"
            raise InputError.of("videos", what, f"at least {self.min_frames} frames")
        x = unfold_time(F.relu(self.norm(self.stem(fold_time(videos)))), videos.shape[1])
        for block in self.blocks:
            x = block(x)
        pooled = x.float().mean((1, 3, 4))
        return pooled, self.head(pooled)


class SeparableBlock(nn.Module):
    """(Over time, norm, ReLU, over space, norm), twice, with a ReLU between and the input added.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        temporal_kernel: frames that a convolution over time sees.
        stride: pixels from one output to the next; 2 halves height and width, rounding up.
    """

    def __init__(self, in_channels: int, out_channels: int, temporal_kernel: int, stride: int) -> None:
        super().__init__()
        self.first = SeparableLayer(in_channels, out_channels, temporal_kernel, stride)
        self.second = SeparableLayer(out_channels, out_channels, temporal_kernel, 1)
        self.stride = stride
        changes = stride > 1 or in_channels != out_channels
        self.skip = nn.Conv2d(in_channels, out_channels, 1, stride) if changes else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """``(B, T, in_channels, H, W)`` to ``(B, T, out_channels, H / stride, W / stride)``."""
        skipped = unfold_time(self.skip(fold_time(x)), x.shape[1])
        return F.relu(self.second(F.relu(self.first(x))) + skipped)


class SeparableLayer(nn.Module):
    """A convolution over time, then one over space, each with its batch norm; a ReLU between; zero padding."""

    def __init__(self, in_channels: int, out_channels: int, temporal_kernel: int, stride: int) -> None:
        super().__init__()
        padding = (temporal_kernel // 2, 0)
        # Over an image of T by H*W: channels-last, that image is the video's memory as it lies.
        self.temporal = nn.Conv2d(in_channels, out_channels, (temporal_kernel, 1), padding=padding, bias=False)
        self.temporal_norm = nn.BatchNorm2d(out_channels)
        self.spatial = nn.Conv2d(out_channels, out_channels, KERNEL, stride, padding=1, bias=False)
        self.spatial_norm = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, T, in_channels, H, W)`` to ``(B, T, out_channels, H / stride, W / stride)``."""
        frames, size = x.shape[1], x.shape[-2:]
        x = self.temporal(x.transpose(1, 2).flatten(3)).unflatten(3, size).transpose(1, 2)
        x = F.relu(self.temporal_norm(fold_time(x)))
        return unfold_time(self.spatial_norm(self.spatial(x)), frames)
