"""The adversarial losses, over the concatenation of all discriminators' outputs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from components.losses.base import AdversarialLoss
from registry import LOSSES


@LOSSES.register
class GeometricHinge(AdversarialLoss):
    """The geometric hinge loss (Lim & Ye, 2017; appendix B), averaged over samples and outputs.

    Discriminators minimise ``mean(relu(1 - s_real)) + mean(relu(1 + s_fake))``, the generator minimises
    ``-mean(s_fake)``, where ``s`` is the concatenation of all discriminators' scores.

    Args:
        sum_frames: sum each discriminator's scores of a clip over its frames first, as DVD-GAN does, so
            that each discriminator counts as one output.
    """

    def __init__(self, *, sum_frames: bool = False) -> None:
        super().__init__()
        self.sum_frames = sum_frames

    def discriminator(self, real: Sequence[Tensor], fake: Sequence[Tensor]) -> Tensor:
        """What the discriminators minimise; each entry is one discriminator's scores ``(B, K)``. A scalar >= 0."""
        return F.relu(1 - self._outputs(real)).mean() + F.relu(1 + self._outputs(fake)).mean()

    def generator(self, fake: Sequence[Tensor]) -> Tensor:
        """What the generator minimises; each entry is one discriminator's scores ``(B, K)``. A scalar."""
        return -self._outputs(fake).mean()

    def _outputs(self, scores: Sequence[Tensor]) -> Tensor:
        """All discriminators' outputs of each sample side by side, ``(B, sum of K)``."""
        if self.sum_frames:
            scores = [each.sum(dim=1, keepdim=True) for each in scores]
        return torch.cat(list(scores), dim=1)


@LOSSES.register
class NonSaturating(AdversarialLoss):
    """The non-saturating loss (Goodfellow et al., 2014), averaged over samples and outputs.

    Discriminators minimise ``mean(softplus(-s_real)) + mean(softplus(s_fake))``, the generator minimises
    ``mean(softplus(-s_fake))``, where ``s`` is the concatenation of all discriminators' scores.
    """

    def __init__(self) -> None:
        super().__init__()

    def discriminator(self, real: Sequence[Tensor], fake: Sequence[Tensor]) -> Tensor:
        """What the discriminators minimise; each entry is one discriminator's scores ``(B, K)``. A scalar > 0."""
        return F.softplus(-torch.cat(list(real), dim=1)).mean() + F.softplus(torch.cat(list(fake), dim=1)).mean()

    def generator(self, fake: Sequence[Tensor]) -> Tensor:
        """What the generator minimises; each entry is one discriminator's scores ``(B, K)``. A scalar > 0."""
        return F.softplus(-torch.cat(list(fake), dim=1)).mean()
