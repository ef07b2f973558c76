"""How a stage's updates are made, of what its training says."""

from __future__ import annotations

from typing import Literal

import attrs

from framework.experiment import Training


@attrs.frozen(kw_only=True)
class Rules:
    """How updates are made, other than by which loss and which optimizer."""

    most_clips: int | None = None
    """Clips that go through the networks at once; None is all of a process's share."""
    r1: float = 0.0
    """Weight of the R1 penalty; with 0 there is none."""
    skip: bool = False
    """Whether an update that is not finite is undone and left out, instead of ending the training."""
    one_pass: bool = True
    """Whether discriminators see real and generated videos in one pass, not in two."""
    power_iterations: Literal["together", "by layer"] = "together"
    """Whether the singular vectors of all of a network's layers move in one pass."""
    prefix: Literal["update", "iteration"] = "update"
    """How often x̂_l is drawn."""

    @classmethod
    def of(cls, training: Training) -> Rules:
        """Those that a training's fields say."""
        return cls(
            most_clips=training.clips_per_gpu,
            r1=training.r1,
            skip=training.on_divergence == "skip",
            one_pass=training.one_pass,
            power_iterations=training.power_iterations,
            prefix=training.prefix,
        )
