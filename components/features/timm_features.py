"""Features of an image network, averaged over a video's frames."""

from __future__ import annotations

import torch
from torch import Tensor

from components.backbones import ImageBackbone
from components.checks import check_shape
from components.features.base import FeatureNetwork
from registry import FEATURES

COLOURS = 3


@FEATURES.register
class TimmFeatures(FeatureNetwork):
    """The features that a timm image network gives each frame, averaged over the frames.

    Frames are resized to the size that the backbone was trained with, and normalised as it was. Without
    ``pretrained`` the weights are random but always the same, so that what is measured with them can be
    compared between runs of one version of torch and timm.

    Args:
        backbone: a model name of ``timm.list_models()``.
        pretrained: load timm's weights for it, from its cache or the network.

    Raises:
        InputError: on ``backbone``, when timm has none of that name; on ``pretrained``, when its weights
            cannot be loaded.
    """

    def __init__(self, *, backbone: str = "resnet18", pretrained: bool = False) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)  # the CPU's alone: GPUs' generators stay as they are
            self.backbone = ImageBackbone(backbone, COLOURS, pretrained=pretrained, own_size=True)
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

    def forward(self, videos: Tensor) -> Tensor:
        """Features ``(B, dim)`` of videos ``(B, T, 3, H, W)``, values in [-1, 1].

        Raises:
            InputError: on ``videos``, when they have another shape.
        """
        check_shape("videos", videos, "B", "T", COLOURS, "H", "W")
        features: Tensor = self.backbone(videos.flatten(0, 1))
        return features.reshape(*videos.shape[:2], -1).mean(1)
