"""What every adversarial loss does."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor, nn

from registry import LOSSES


@LOSSES.base
class AdversarialLoss(nn.Module, ABC):
    """The two sides of the game, over the scores of all of a stage's discriminators together."""

    @abstractmethod
    def discriminator(self, real: Sequence[Tensor], fake: Sequence[Tensor]) -> Tensor:
        """What the discriminators minimise; each entry is one discriminator's scores ``(B, K)``. A scalar."""

    @abstractmethod
    def generator(self, fake: Sequence[Tensor]) -> Tensor:
        """What the generator minimises; each entry is one discriminator's scores ``(B, K)``. A scalar."""
