"""The 2-D discriminator: are the frames like real ones?"""

from __future__ import annotations

from torch import Tensor, nn

from components.checks import check_classes, check_shape
from components.clip import Clip
from components.discriminators.base import Discriminator
from components.discriminators.head import ProjectionHead
from components.discriminators.sampling import sample_frames
from components.discriminators.trunk import DiscriminatorTrunk
from registry import DISCRIMINATORS, Positive


@DISCRIMINATORS.register
class SpatialDiscriminator(Discriminator):
    """Scores randomly sampled frames of each clip, each on its own, with 2-D blocks (appendix B).

    Which frames is drawn anew at each call, for each clip on its own, from torch's global generator.

    Args:
        clip: the stage's training window.
        classes: number of classes, None when unconditional.
        channels: base number of channels.
        multipliers: the output channels of each block, in units of ``channels``. Reading of the paper: the
            list printed for stage 1 is reversed.
        frames: how many frames are sampled; all of a clip that has no more.
        attention: resolutions after whose block or blocks self-attention over height and width follows (not in the
            paper); the first block's output has half of the clip's.

    Raises:
        InputError: on ``multipliers``, when there is none; on ``attention``, when no block's output has that
            resolution.
    """

    def __init__(
        self,
        clip: Clip,
        classes: int | None = None,
        *,
        channels: Positive = 128,
        multipliers: tuple[Positive, ...] = (2, 4, 8, 16, 16),
        frames: Positive = 8,
        attention: tuple[Positive, ...] = (),
    ) -> None:
        super().__init__()
        self.clip = clip
        self.classes = classes
        self.frames = frames
        self.trunk = DiscriminatorTrunk(
            clip.channels,
            (clip.height, clip.width),
            channels=channels,
            multipliers=multipliers,
            attention=attention,
        )
        self.head = ProjectionHead(self.trunk.features, classes)

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
        scores: Tensor = self.head(self.trunk(sample_frames(x, self.frames)), y)
        return scores

    def recomputable(self) -> list[nn.Module]:
        """The blocks, and attention."""
        return self.trunk.recomputable()
