"""A stage's step, made quickly: what it costs depends on shapes alone."""

from __future__ import annotations

from unittest.mock import patch

import attrs
import torch
from torch import Tensor, nn

from framework.cost.step import StageStep, build_step
from framework.experiment import Experiment, Training


def build(experiment: Experiment, name: str, training: Training, batch: int, device: torch.device) -> StageStep:
    """The iteration that training the stage ``name`` makes, built on ``device``, its batches on the CPU.

    Weights are normal instead of orthogonal: decomposing each at full width takes longer than all that is measured.
    """
    with patch.object(nn.init, "orthogonal_", _normal), device:
        step = build_step(experiment, name, training, batch, device)
    batches = [{key: value.cpu() for key, value in data.items()} for data in step.batches]
    return attrs.evolve(step, batches=batches)


@torch.no_grad()
def _normal(weight: Tensor) -> Tensor:
    return weight.normal_(0, weight[0].numel() ** -0.5)
