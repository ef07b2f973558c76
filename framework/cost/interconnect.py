"""The time that GPUs which train together need to agree on gradients and statistics."""

from __future__ import annotations

import attrs

from components.layers import ConditionalBatchNorm
from framework.adversarial_stage import AdversarialStage
from framework.cost.cards import Card

LATENCY_IN_MACHINE, LATENCY_BETWEEN = 20e-6, 50e-6
"""Seconds that a reduction of few values is taken to need; an assumption, not a data sheet's figure."""


@attrs.frozen
class Traffic:
    """What GPUs exchange in one iteration."""

    gradients: int
    """Bytes of gradients, reduced in the updates that they belong to."""
    small: int
    """Reductions of few values: moments of batch norms, and whether an update is finite."""

    def seconds(self, card: Card, gpus: int) -> float:
        """Time with ``gpus`` GPUs in a ring, none of it hidden behind computing.

        A ring moves ``2 (N - 1) / N`` of the bytes past every GPU, through its slowest link.
        """
        if gpus == 1:
            return 0.0
        together = gpus <= card.per_machine
        bandwidth, latency = (card.link, LATENCY_IN_MACHINE) if together else (card.network, LATENCY_BETWEEN)
        return 2 * (gpus - 1) / gpus * self.gradients / bandwidth + self.small * latency


def traffic_of(model: AdversarialStage, discriminator_steps: int, parts: int) -> Traffic:
    """What the stage's iteration exchanges when several GPUs make it.

    A norm makes one reduction in each forward, also in the discriminators' updates, where videos are generated, and
    one in each backward pass. Norms in discriminators of timm's are left out.
    """
    of_g = sum(p.nbytes for p in model.generator.parameters())
    of_d = sum(p.nbytes for p in model.discriminators.parameters())
    norms = sum(isinstance(part, ConditionalBatchNorm) for part in model.generator.modules())
    small = parts * norms * (discriminator_steps + 2) + discriminator_steps + 1
    return Traffic(of_g + discriminator_steps * of_d, small)
