"""A per-frame discriminator on any image network of the timm library."""

from __future__ import annotations

from torch import Tensor, nn

from components.backbones import ImageBackbone
from components.checks import check_classes, check_shape
from components.clip import Clip
from components.discriminators.base import Discriminator
from components.discriminators.head import ProjectionHead
from components.discriminators.sampling import sample_frames
from registry import DISCRIMINATORS, Positive


@DISCRIMINATORS.register
class TimmDiscriminator(Discriminator):
    """Scores randomly sampled frames of each clip, each on its own, with a timm image network.

    Not from the paper. The backbone is as timm makes it: with its own norms, without spectral
    normalisation (the head has it). Frames with a side below 32 pixels are enlarged to it, and frames for
    a backbone of one input size are resized to that size.

    Args:
        clip: the stage's training window.
        classes: number of classes, None when unconditional.
        backbone: a model name of ``timm.list_models()``.
        frames: how many frames are sampled; all of a clip that has no more.
        pretrained: start from timm's weights, from its cache or the network.

    Raises:
        InputError: on ``backbone``, when timm has none of that name or it does not give feature vectors; on
            ``pretrained``, when its weights cannot be loaded.
    """

    def __init__(
        self,
        clip: Clip,
        classes: int | None = None,
        *,
        backbone: str = "convnext_atto",
        frames: Positive = 8,
        pretrained: bool = False,
    ) -> None:
        super().__init__()
        self.clip = clip
        self.classes = classes
        self.frames = frames
        self.backbone = ImageBackbone(backbone, clip.channels, pretrained=pretrained)
        self.head = ProjectionHead(self.backbone.features, classes)

    def forward(self, x: Tensor, y: Tensor | None = None, x_l: Tensor | None = None) -> Tensor:
        """Score sampled frames.

        Args:
            x: real or generated videos ``(B, T, C, H, W)`` of the training window's shape, values in [-1, 1].
            y: class indices ``(B,)``, int64; None when unconditional.
            x_l: not looked at.

        Returns:
            Tensor: scores ``(B, min(frames, T))``, unbounded.

        Raises:
            InputError: on ``x`` or ``y``, when they have another shape.
        """
        check_shape("x", x, "B", *self.clip.shape(1)[1:])
        check_classes(y, self.classes, len(x))
        frames = sample_frames(x, self.frames)
        features = self.backbone(frames.flatten(0, 1)).reshape(*frames.shape[:2], -1)
        scores: Tensor = self.head(features, y)
        return scores

    def recomputable(self) -> list[nn.Module]:
        """The backbone's stages, or its blocks where it has no stages."""
        return self.backbone.stages()
