"""Features of an image network, averaged over a video's frames."""

from __future__ import annotations

import importlib.metadata
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from components.backbones import ImageBackbone
from components.features.base import VALUE_RANGE, FeatureNetwork, Features, tensors_digest
from registry import FEATURES

FRAMES = 256
"""At once: of long videos all would not fit into memory at the backbone's size."""


@FEATURES.register
class TimmFeatures(FeatureNetwork):
    """The features that a timm image network gives each frame, averaged over the frames.

    Frames are resized to the size that the backbone was trained with, and normalised as it was. Without
    ``pretrained`` the weights are random but always the same, so that what is measured with them can be
    compared between runs of one version of torch and timm. It knows no classes: the classifier of the timm model is
    left out.

    Args:
        backbone: a model name of ``timm.list_models()``.
        pretrained: load timm's weights for it, from its cache or the network.

    Raises:
        InputError: on ``backbone``, when timm has none of that name; on ``pretrained``, when its weights
            cannot be loaded.
    """

    def __init__(self, *, backbone: str = "resnet18", pretrained: bool = False) -> None:
        super().__init__()
        self._name, self._pretrained = backbone, pretrained
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)  # the CPU's alone: GPUs' generators stay as they are
            self.backbone = ImageBackbone(backbone, self.channels, pretrained=pretrained, own_size=True)
        self.requires_grad_(False)  # the argument has no name in torch
        self.eval()

    @property
    def dim(self) -> int:
        """Length of a feature vector."""
        return self.backbone.features

    @property
    def min_frames(self) -> int:
        """One: frames are looked at one by one."""
        return 1

    @cached_property
    def _digest(self) -> str:
        return tensors_digest(self.backbone)

    def identity(self) -> dict[str, Any]:
        """Its name, backbone and weights; random unless they are timm's."""
        height, width = self.backbone.size or (0, 0)
        return {
            "network": type(self).__name__,
            "backbone": self._name,
            "timm": importlib.metadata.version("timm"),
            "weights": self._digest,
            "random": not self._pretrained,
            "resize": f"each frame to {height}x{width}, bilinear, antialiased",
            "value_range": VALUE_RANGE,
            "pooled": "the backbone's pooled features, averaged over frames",
        }

    def forward(self, videos: Tensor) -> Features:
        """Features ``(B, dim)`` of videos ``(B, T, 3, H, W)``, values in [-1, 1].

        Raises:
            InputError: on ``videos``, when they have another shape.
        """
        self.check(videos)
        features = torch.cat([self.backbone(frames) for frames in torch.split(videos.flatten(0, 1), FRAMES)])
        return Features(features.reshape(*videos.shape[:2], -1).mean(1))
