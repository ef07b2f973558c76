"""Features of a classifier that was trained on the user's own videos: what works without a network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from components.classifiers.stored import find_classifier, read_classifier
from components.features.base import VALUE_RANGE, FeatureNetwork, Features
from components.features.resizing import resized
from registry import FEATURES


@FEATURES.register
class InDomainFeatures(FeatureNetwork):
    """The features of a classifier that ``tools/train.py`` has trained on a labelled store.

    They tell apart what the classes of that store differ in; figures of two classifiers cannot be compared. Frames of
    another size than the classifier's are resized to it.

    Args:
        path: the folder of the classifier's run, or of its artifact alone.

    Raises:
        InputError: on ``path``, when there is no trained classifier, or a file of it is missing or damaged.
    """

    def __init__(self, *, path: Path) -> None:
        super().__init__()
        self.manifest, self.network, self._digest = read_classifier(find_classifier(path))
        self.channels = self.manifest.clip.channels
        self.requires_grad_(False)  # the argument has no name in torch
        self.eval()

    @property
    def dim(self) -> int:
        """Length of the classifier's pooled vector."""
        return self.network.dim

    @property
    def logits_dim(self) -> int:
        """Number of classes of the store."""
        return len(self.manifest.classes)

    @property
    def min_frames(self) -> int:
        """The fewest frames that the classifier takes, which may be fewer than it was trained on."""
        return self.network.min_frames

    @property
    def stride(self) -> int:
        """Source frames from one frame to the next in the clips that it was trained on."""
        return self.manifest.clip.stride

    def identity(self) -> dict[str, Any]:
        """The artifact's digest, how well it tells classes, and the clips and the store that it was trained on."""
        clip, held_out = self.manifest.clip, self.manifest.held_out
        return {
            "network": type(self).__name__,
            "classifier": str(self.manifest.network),
            "weights": self._digest,
            "random": False,
            "resize": f"each frame to {clip.height}x{clip.width}, bilinear, antialiased",
            "value_range": VALUE_RANGE,
            "classes": list(self.manifest.classes),
            "held_out_accuracy": held_out.accuracy,
            "held_out_clips": held_out.clips,
            "trained_on": {"store": self.manifest.data, "frames": clip.frames, "stride": clip.stride},
            "pooled": "the classifier's last activations, averaged over space and time",
        }

    def forward(self, videos: Tensor) -> Features:
        """Features of videos ``(B, T, C, H, W)``, values in [-1, 1].

        Raises:
            InputError: on ``videos``, when they have another shape or too few frames.
        """
        self.check(videos)
        clip = self.manifest.clip
        return Features(*self.network(resized(videos, clip.height, clip.width, antialias=True)))
