"""A convolution together with the upsampling before it or the pooling after it, as one strided convolution.

Nearest upsampling by 2 and then a 3x3 convolution is a transposed convolution with a stride of 2, whose 4x4
kernel is the 3x3 one convolved with a 2x2 box; a 3x3 convolution and then 2x2 average pooling is a convolution
with a stride of 2 and that kernel. The results are the same, at 4 products per pixel instead of 9, and
the large feature map in between is never there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from components.layers.folding import fold_time, unfold_time


def upsample_and_convolve(x: Tensor, convolution: nn.Conv2d) -> Tensor:
    """``(N, C, H, W)``, each pixel doubled along both axes, through the 3x3 ``convolution``: ``(N, C', 2H, 2W)``."""
    kernel = _spread(convolution.weight, (2, 2)).flip(2, 3).transpose(0, 1)
    return F.conv_transpose2d(x, kernel, convolution.bias, stride=2, padding=1)


def convolve_and_pool(x: Tensor, convolution: nn.Conv2d | nn.Conv3d, factors: Sequence[int]) -> Tensor:
    """``x`` through ``convolution``, then averaged over blocks of ``factors`` pixels (or frames), each 1 or 2.

    The kernel's size is 3 along every axis; what is left over at the end of an axis is dropped.
    """
    kernel = _spread(convolution.weight, factors) / math.prod(factors)
    convolve = F.conv3d if kernel.dim() == 5 else F.conv2d
    return convolve(x, kernel, convolution.bias, stride=tuple(factors), padding=1)


def average_blocks(video: Tensor, factors: tuple[int, int, int]) -> Tensor:
    """``(B, C, T, H, W)`` averaged over blocks of ``factors`` frames and pixels, each 1 or 2.

    What is left over at the end of an axis is dropped. The gradient of torch's ``avg_pool3d`` has no deterministic
    kernel on GPUs, and channels do not stay last in memory there; pictures' ``avg_pool2d`` has both.

    Raises:
        ValueError: another factor.
    """
    if not {1, 2}.issuperset(factors):
        raise ValueError(f"blocks of {factors}; allowed: 1 or 2 along each axis")
    time, *space = factors
    if max(space) > 1:
        frames = F.avg_pool2d(fold_time(video.transpose(1, 2)), space)
        video = unfold_time(frames, video.shape[2]).transpose(1, 2)
    if time > 1:
        later = video[:, :, 1::2]
        video = (video[:, :, : 2 * later.shape[2] : 2] + later) / 2
    return video


def _spread(weight: Tensor, factors: Sequence[int]) -> Tensor:
    """The kernel ``weight`` convolved with a box of ones of the size ``factors``."""
    for axis, factor in enumerate(factors, start=2):
        if factor == 2:
            zeros = torch.zeros_like(weight.narrow(axis, 0, 1))
            weight = torch.cat([weight, zeros], axis) + torch.cat([zeros, weight], axis)
    return weight
