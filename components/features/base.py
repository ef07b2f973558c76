"""What every feature network does."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Self

from torch import Tensor, nn

from registry import FEATURES


@FEATURES.base
class FeatureNetwork(nn.Module, ABC):
    """Maps videos to the features that metrics compare.

    It measures and is not trained: it stays in evaluation mode whatever it is part of.
    """

    @property
    @abstractmethod
    def dim(self) -> int:
        """Length of a feature vector, D."""

    @property
    @abstractmethod
    def min_frames(self) -> int:
        """The fewest frames that a video may have."""

    @abstractmethod
    def forward(self, videos: Tensor) -> Tensor:
        """Features ``(B, D)`` of videos ``(B, T, C, H, W)``, values in [-1, 1].

        Raises:
            InputError: on ``videos``, when their shape is none that the network takes.
        """

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode."""
        return super().train(False)  # as torch's own `eval` does
