"""What every classifier of videos does."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from components.clip import Clip
from registry import CLASSIFIERS


@CLASSIFIERS.base
class Classifier(nn.Module, ABC):
    """Tells a video's class; what it tells it by are its features.

    It is given the clip that it is trained on and the number of classes, and takes videos of that size with any number
    of frames from ``min_frames`` on.
    """

    clip: Clip
    """What it is trained on."""
    classes: int
    """How many it scores."""

    @property
    @abstractmethod
    def dim(self) -> int:
        """Length of a pooled vector, D."""

    @property
    @abstractmethod
    def min_frames(self) -> int:
        """The fewest frames that a video may have."""

    @abstractmethod
    def forward(self, videos: Tensor) -> tuple[Tensor, Tensor]:
        """Pooled features ``(B, D)`` and logits ``(B, classes)`` of videos ``(B, T, C, H, W)``, values in [-1, 1].

        Raises:
            InputError: on ``videos``, when they have another shape or too few frames.
        """
