"""The Inflated 3D Inception network (Carreira and Zisserman, 2017): Inception-v1 with a third, temporal axis.

Its parameters have the names and shapes of the state dict that is usual for it in PyTorch (``InceptionI3d``).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Triple = tuple[int, int, int]

FEATURES = 1024
"""Channels of the last activations."""
MIN_FRAMES = 9
"""Halved three times, rounding up, these leave the two that the last pooling needs."""
SIZE = 224
"""Pixels a side: halved five times, the 7x7 of the last pooling."""


class InceptionI3d(nn.Module):
    """The network of figure 3 of Carreira and Zisserman, on RGB.

    Args:
        classes: how many it scores.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        parts: dict[str, nn.Module] = {
            "Conv3d_1a_7x7": Unit3d(3, 64, (7, 7, 7), (2, 2, 2)),
            "MaxPool3d_2a_3x3": SamePool((1, 3, 3), (1, 2, 2)),
            "Conv3d_2b_1x1": Unit3d(64, 64, (1, 1, 1)),
            "Conv3d_2c_3x3": Unit3d(64, 192, (3, 3, 3)),
            "MaxPool3d_3a_3x3": SamePool((1, 3, 3), (1, 2, 2)),
            "Mixed_3b": Mixed(192, 64, (96, 128), (16, 32), 32),
            "Mixed_3c": Mixed(256, 128, (128, 192), (32, 96), 64),
            "MaxPool3d_4a_3x3": SamePool((3, 3, 3), (2, 2, 2)),
            "Mixed_4b": Mixed(480, 192, (96, 208), (16, 48), 64),
            "Mixed_4c": Mixed(512, 160, (112, 224), (24, 64), 64),
            "Mixed_4d": Mixed(512, 128, (128, 256), (24, 64), 64),
            "Mixed_4e": Mixed(512, 112, (144, 288), (32, 64), 64),
            "Mixed_4f": Mixed(528, 256, (160, 320), (32, 128), 128),
            "MaxPool3d_5a_2x2": SamePool((2, 2, 2), (2, 2, 2)),
            "Mixed_5b": Mixed(832, 256, (160, 320), (32, 128), 128),
            "Mixed_5c": Mixed(832, 384, (192, 384), (48, 128), 128),
        }
        self._order = tuple(parts)
        for name, part in parts.items():
            self.add_module(name, part)
        self.logits = nn.Module()  # for the names `logits.conv3d.weight` and `.bias`
        self.logits.conv3d = nn.Conv3d(FEATURES, classes, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Pooled activations ``(B, 1024)`` and logits ``(B, classes)``, both averaged over time.

        Args:
            x: ``(B, 3, T, 224, 224)``, values in [-1, 1], at least 9 frames.
        """
        for name in self._order:
            x = self.get_submodule(name)(x)
        pooled = F.avg_pool3d(x, (2, 7, 7), stride=1)
        logits: Tensor = self.logits.get_submodule("conv3d")(pooled)
        return pooled.mean((2, 3, 4)), logits.mean((2, 3, 4))


class Unit3d(nn.Module):
    """Convolution, batch norm, ReLU; padded as TensorFlow's "SAME" does."""

    def __init__(self, in_channels: int, out_channels: int, kernel: Triple, stride: Triple = (1, 1, 1)) -> None:
        super().__init__()
        self.conv3d = nn.Conv3d(in_channels, out_channels, kernel, stride, bias=False)
        self.bn = nn.BatchNorm3d(out_channels, eps=1e-3, momentum=0.01)
        self.kernel, self.stride = kernel, stride

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, T, H, W)`` to ``(B, C', ceil(T / stride), ceil(H / stride), ceil(W / stride))``."""
        return F.relu(self.bn(self.conv3d(same_padded(x, self.kernel, self.stride))))


class SamePool(nn.Module):
    """Maximum over ``kernel``, padded as TensorFlow's "SAME" does.

    The padding of zeros never wins wrongly: all that is pooled here comes from a ReLU.
    """

    def __init__(self, kernel: Triple, stride: Triple = (1, 1, 1)) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, T, H, W)``, at least 0, to ``(B, C, ceil(T / stride), ...)``."""
        return F.max_pool3d(same_padded(x, self.kernel, self.stride), self.kernel, self.stride)


class Mixed(nn.Module):
    """An Inception block: 1x1x1; 1x1x1 and 3x3x3, twice; pool and 1x1x1; side by side in the channels.

    Args:
        in_channels: of the input.
        b0: channels of the first branch.
        b1: channels within and at the end of the second.
        b2: the same of the third.
        b3: channels of the last.
    """

    def __init__(self, in_channels: int, b0: int, b1: tuple[int, int], b2: tuple[int, int], b3: int) -> None:
        super().__init__()
        self.b0 = Unit3d(in_channels, b0, (1, 1, 1))
        self.b1a, self.b1b = Unit3d(in_channels, b1[0], (1, 1, 1)), Unit3d(*b1, (3, 3, 3))
        self.b2a, self.b2b = Unit3d(in_channels, b2[0], (1, 1, 1)), Unit3d(*b2, (3, 3, 3))
        self.b3a, self.b3b = SamePool((3, 3, 3)), Unit3d(in_channels, b3, (1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """``(B, in_channels, T, H, W)`` to ``(B, b0 + b1 + b2 + b3, T, H, W)``."""
        return torch.cat([self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(self.b3a(x))], 1)


def same_padded(x: Tensor, kernel: Triple, stride: Triple) -> Tensor:
    """``x`` with zeros around it, so that ``kernel`` at ``stride`` gives ``ceil(size / stride)`` along each axis.

    As in TensorFlow the odd one goes to the end, and how much is needed depends on the size.
    """
    pads: list[int] = []
    for size, k, s in zip(x.shape[2:], kernel, stride, strict=True):
        needed = max((-(-size // s) - 1) * s + k - size, 0)
        pads = [needed // 2, needed - needed // 2, *pads]  # torch counts axes from the last
    return F.pad(x, pads) if any(pads) else x
