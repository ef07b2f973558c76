"""The 3-D discriminator: is the motion like real motion?"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from components.checks import check_classes, check_shape
from components.clip import Clip
from components.discriminators.base import Discriminator
from components.discriminators.head import ProjectionHead
from components.discriminators.trunk import DiscriminatorTrunk
from components.layers.folding import fold_time, unfold_time
from registry import DISCRIMINATORS, InputError, Positive

BLOCKS_3D = 2
"""How many blocks of a temporal network are 3-D (appendix B)."""


@DISCRIMINATORS.register
class TemporalDiscriminator(Discriminator):
    """Scores each timestep of spatially smaller clips, with two 3-D blocks and then 2-D ones (appendix B).

    Args:
        clip: the stage's training window.
        classes: number of classes, None when unconditional.
        channels: base number of channels.
        multipliers: the output channels of each block, in units of ``channels``. Reading of the paper: the
            list printed for stage 1 is reversed.
        pool: the input is averaged over blocks of this many pixels along each axis.
        temporal_pooling: whether each 3-D block also halves the number of frames, as in DVD-GAN; the paper
            does not say that its blocks do.
        attention: resolutions after whose block or blocks self-attention over height, width and time follows (not in
            the paper); the first block's output has half of the pooled input's.

    Raises:
        InputError: on ``multipliers``, when there is none; on ``pool``, when it does not divide the clip's
            size; on ``temporal_pooling``, when the clip has too few frames for it; on ``attention``, when no block's
            output has that resolution.
    """

    def __init__(
        self,
        clip: Clip,
        classes: int | None = None,
        *,
        channels: Positive = 128,
        multipliers: tuple[Positive, ...] = (2, 4, 8, 16, 16),
        pool: Positive = 2,
        temporal_pooling: bool = False,
        attention: tuple[Positive, ...] = (),
    ) -> None:
        super().__init__()
        for size in (clip.height, clip.width):
            if size % pool:
                raise InputError.of("pool", f"{pool} does not divide {size} pixels", f"a divisor of {size}")
        needed = 2 ** min(BLOCKS_3D, len(multipliers))
        if temporal_pooling and clip.frames < needed:
            what = f"{clip.frames} frames cannot be halved by each 3-D block"
            raise InputError.of("temporal_pooling", what, f"false, or at least {needed} frames")
        self.clip = clip
        self.classes = classes
        self.pool = pool
        self.trunk = DiscriminatorTrunk(
            clip.channels,
            (clip.height // pool, clip.width // pool),
            channels=channels,
            multipliers=multipliers,
            blocks_3d=BLOCKS_3D,
            halve_time=temporal_pooling,
            attention=attention,
        )
        self.head = ProjectionHead(self.trunk.features, classes)

    def forward(self, x: Tensor, y: Tensor | None = None, x_l: Tensor | None = None) -> Tensor:
        """Score timesteps.

        Args:
            x: real or generated videos ``(B, T, C, H, W)`` of the training window's shape, values in [-1, 1].
            y: class indices ``(B,)``, int64; None when unconditional.
            x_l: not looked at.

        Returns:
            Tensor: scores ``(B, T)``, unbounded; ``(B, T // 4)`` with ``temporal_pooling``.

        Raises:
            InputError: on ``x`` or ``y``, when they have another shape.
        """
        check_shape("x", x, "B", *self.clip.shape(1)[1:])
        check_classes(y, self.classes, len(x))
        if self.pool > 1:
            x = unfold_time(F.avg_pool2d(fold_time(x), self.pool), self.clip.frames)
        scores: Tensor = self.head(self.trunk(x), y)
        return scores

    def recomputable(self) -> list[nn.Module]:
        """The blocks, and attention."""
        return self.trunk.recomputable()
