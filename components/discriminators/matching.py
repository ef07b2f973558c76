"""The matching discriminator: does the video belong to its low-resolution video?"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from components.checks import check_classes, check_shape
from components.clip import Clip
from components.discriminators.base import Discriminator
from components.discriminators.head import ProjectionHead
from components.discriminators.temporal import BLOCKS_3D
from components.discriminators.trunk import DiscriminatorTrunk
from components.views import View
from registry import DISCRIMINATORS, InputError, Positive


@DISCRIMINATORS.register
class MatchingDiscriminator(Discriminator):
    """Scores pairs ``(x_l, x)``: x brought down to x_l's size, beside x_l (section 3.2, appendix B).

    Reading of the paper: x is brought down by the stage's own view, since that is what x_l is to x in the
    data, and the network is the temporal discriminator's without its pooling of the input.

    Args:
        clip: the stage's training window.
        view: the view that leads from the stage's clip to its source's.
        classes: number of classes, None when unconditional.
        channels: base number of channels.
        multipliers: the output channels of each block, in units of ``channels``.
        attention: resolutions after whose block or blocks self-attention over height, width and time follows (not in
            the paper); the first block's output has half of x_l's.

    Raises:
        InputError: on ``multipliers``, when there is none; on ``attention``, when no block's output has that
            resolution; when there is no view (a base stage has no x_l).
    """

    def __init__(
        self,
        clip: Clip,
        view: View | None,
        classes: int | None = None,
        *,
        channels: Positive = 96,
        multipliers: tuple[Positive, ...] = (1, 2, 4, 8, 16, 16),
        attention: tuple[Positive, ...] = (),
    ) -> None:
        super().__init__()
        if view is None:
            raise InputError.of("", "a matching discriminator needs a stage with a source, and this one has none")
        self.clip = clip
        self.low_clip = view.clip(clip)
        self.classes = classes
        self.view = view
        self.trunk = DiscriminatorTrunk(
            2 * self.low_clip.channels,
            (self.low_clip.height, self.low_clip.width),
            channels=channels,
            multipliers=multipliers,
            blocks_3d=BLOCKS_3D,
            attention=attention,
        )
        self.head = ProjectionHead(self.trunk.features, classes)

    def forward(self, x: Tensor, y: Tensor | None = None, x_l: Tensor | None = None) -> Tensor:
        """Score pairs.

        Args:
            x: real or generated videos ``(B, T, C, H, W)`` of the training window's shape, values in [-1, 1].
            y: class indices ``(B,)``, int64; None when unconditional.
            x_l: the low-resolution videos that ``x`` belongs to, ``(B, T_l, C, H_l, W_l)``, of the shape that
                the view makes of ``x``.

        Returns:
            Tensor: scores ``(B, T_l)``, unbounded.

        Raises:
            InputError: on ``x``, ``y`` or ``x_l``, when they have another shape or are missing.
        """
        check_shape("x", x, "B", *self.clip.shape(1)[1:])
        check_classes(y, self.classes, len(x))
        expected = self.low_clip.shape(len(x))
        if x_l is None:
            raise InputError.of("x_l", "the low-resolution videos are missing", allowed=f"shape {expected}")
        check_shape("x_l", x_l, *expected)
        scores: Tensor = self.head(self.trunk(torch.cat([self.view(x), x_l], dim=2)), y)
        return scores

    def recomputable(self) -> list[nn.Module]:
        """The blocks, and attention."""
        return self.trunk.recomputable()
