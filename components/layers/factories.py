"""The layers that everything is built of: orthogonally initialised, spectrally normalised (appendix A).

Convolutions have stride 1 and keep the size of their input by zero padding. Every layer reads its weight
once per forward, so that one forward in training mode is one power iteration per weight.
"""

from __future__ import annotations

from torch import nn

from components.layers.init import orthogonal_init_
from components.layers.spectral_norm import spectral_norm


def conv2d(in_channels: int, out_channels: int, kernel: int | tuple[int, int] = 3) -> nn.Conv2d:
    """A 2-D convolution ``(N, C, H, W)`` to ``(N, C', H, W)``; the sizes in ``kernel`` are odd."""
    height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
    padding = (height // 2, width // 2)
    return spectral_norm(orthogonal_init_(nn.Conv2d(in_channels, out_channels, (height, width), padding=padding)))


def conv3d(in_channels: int, out_channels: int, kernel: tuple[int, int, int] = (3, 3, 3)) -> nn.Conv3d:
    """A 3-D convolution ``(B, C, T, H, W)`` to ``(B, C', T, H, W)``; the sizes in ``kernel`` are odd."""
    depth, height, width = kernel
    padding = (depth // 2, height // 2, width // 2)
    return spectral_norm(orthogonal_init_(nn.Conv3d(in_channels, out_channels, kernel, padding=padding)))


def linear(in_features: int, out_features: int, bias: bool = True) -> nn.Linear:
    """A linear map ``(..., in_features)`` to ``(..., out_features)``."""
    return spectral_norm(orthogonal_init_(nn.Linear(in_features, out_features, bias)))


def embedding(count: int, dim: int) -> nn.Embedding:
    """A vector of length ``dim`` for each of ``count`` classes."""
    return spectral_norm(orthogonal_init_(nn.Embedding(count, dim)))
