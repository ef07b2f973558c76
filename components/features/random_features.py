"""Features of a small video network with random weights: for trying a measurement out, not for its figures."""

from __future__ import annotations

from functools import cached_property
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from components.features.base import VALUE_RANGE, FeatureNetwork, Features, tensors_digest
from components.features.resizing import resized
from registry import FEATURES, NonNegative, Positive

Triple = tuple[int, int, int]

WIDTHS = (32, 64)
"""Channels after the first two layers."""
KERNELS = ((1, 3, 3), (3, 3, 3), (3, 3, 3))
STRIDES = ((1, 1, 1), (1, 2, 2), (1, 2, 2))


@FEATURES.register
class RandomFeatures(FeatureNetwork):
    """Three 3-D convolutions with fixed random weights, averaged over space and time.

    Nothing was learned: distances between such features tell equal distributions from different ones, but not how
    different they look. Every figure made with them says "random". The weights follow from ``seed`` through torch's
    generator for the CPU, whatever the device.

    Args:
        dim: length of a feature vector.
        seed: of the weights.
        size: frames are resized to this many pixels a side first.
        channels: colour channels of the videos.
    """

    def __init__(
        self, *, dim: Positive = 64, seed: NonNegative = 0, size: Positive = 32, channels: Positive = 3
    ) -> None:
        super().__init__()
        self.channels = channels
        self._dim, self._seed, self._size = dim, seed, size
        generator = torch.Generator().manual_seed(seed)
        widths = (channels, *WIDTHS, dim)
        self.layers = nn.ModuleList(
            _layer(*pair, kernel, stride, generator)
            for pair, kernel, stride in zip(pairwise(widths), KERNELS, STRIDES, strict=True)
        )
        self.requires_grad_(False)  # the argument has no name in torch
        self.eval()

    @property
    def dim(self) -> int:
        """Length of a feature vector."""
        return self._dim

    @property
    def min_frames(self) -> int:
        """Five: over time the convolutions see nothing but frames of the video."""
        return 1 + sum(kernel[0] - 1 for kernel in KERNELS)

    @cached_property
    def _digest(self) -> str:
        return tensors_digest(self)

    def identity(self) -> dict[str, Any]:
        """Its name, seed and weights, and that they are random."""
        return {
            "network": type(self).__name__,
            "seed": self._seed,
            "weights": self._digest,
            "random": True,
            "resize": f"each frame to {self._size}x{self._size}, bilinear, antialiased",
            "value_range": VALUE_RANGE,
            "pooled": "the last layer's activations, averaged over space and time",
        }

    def forward(self, videos: Tensor) -> Features:
        """Features ``(B, dim)`` of videos ``(B, T, C, H, W)``, values in [-1, 1].

        Raises:
            InputError: on ``videos``, when they have another shape or fewer than 5 frames.
        """
        self.check(videos)
        x = resized(videos, self._size, self._size, antialias=True).transpose(1, 2)
        for layer in self.layers:
            x = F.relu(layer(x))
        return Features(x.mean((2, 3, 4)))


def _layer(before: int, after: int, kernel: Triple, stride: Triple, generator: torch.Generator) -> nn.Conv3d:
    # Not initialised first: that would draw from the global generator.
    layer: nn.Conv3d = nn.utils.skip_init(  # type: ignore[no-untyped-call]
        nn.Conv3d, before, after, kernel, stride, padding=(0, 1, 1), bias=False
    )
    spread = (2 / layer.weight[0].numel()) ** 0.5  # He et al. (2015): activations keep their size
    with torch.no_grad():
        layer.weight.copy_(torch.randn(layer.weight.shape, generator=generator) * spread)
    return layer
