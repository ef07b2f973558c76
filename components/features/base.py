"""What every feature network does."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from typing import Any, Self

import attrs
import torch
from torch import Tensor, nn

from components.checks import check_shape
from registry import FEATURES, InputError

VALUE_RANGE = [-1.0, 1.0]
"""Of the videos that feature networks take, as a protocol writes it."""


@attrs.frozen(eq=False)
class Features:
    """What a feature network says of videos."""

    pooled: Tensor
    """``(B, dim)``: one vector per video, whose distributions are compared (FVD, FID)."""
    logits: Tensor | None = None
    """``(B, logits_dim)``: class scores before the softmax (IS); None where the network knows no classes."""


@FEATURES.base
class FeatureNetwork(nn.Module, ABC):
    """Maps videos to the features that metrics compare.

    It measures and is not trained: it stays in evaluation mode whatever it is part of.
    """

    channels: int = 3
    """Colour channels of the videos that it takes."""

    @property
    def stride(self) -> int | None:
        """The stride of the clips that its features are of: other ones are not to be given to it; None is any."""
        return None

    @property
    @abstractmethod
    def dim(self) -> int:
        """Length of a pooled vector, D."""

    @property
    def logits_dim(self) -> int | None:
        """Number of classes that it scores; None where it knows none."""
        return None

    @property
    @abstractmethod
    def min_frames(self) -> int:
        """The fewest frames that a video may have."""

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """What a figure's protocol says of the network, JSON data.

        ``network`` (its name), ``weights`` (a SHA-256), ``random`` (whether they were never trained), ``resize`` and
        ``value_range`` (what is done to videos), and what else tells it from others: two networks with equal
        identities give the same features but for rounding.
        """

    @abstractmethod
    def forward(self, videos: Tensor) -> Features:
        """Features of videos ``(B, T, C, H, W)``, values in [-1, 1].

        Raises:
            InputError: on ``videos``, when they have another shape or fewer than ``min_frames`` frames, which are
                never made up.
        """

    def check(self, videos: Tensor) -> None:
        """Refuse what the network does not take.

        Raises:
            InputError: on ``videos``.
        """
        check_shape("videos", videos, "B", "T", self.channels, "H", "W")
        if videos.shape[1] < self.min_frames:
            what = f"{videos.shape[1]} frames are fewer than {type(self).__name__} needs"
            raise InputError.of("videos", what, f"at least {self.min_frames} frames")

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode."""
        return super().train(False)  # as torch's own `eval` does


def tensors_digest(network: nn.Module) -> str:
    """The SHA-256 of a network's tensors with their names, types and shapes, wherever they lie."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()
