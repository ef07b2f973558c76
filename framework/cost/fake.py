"""Networks on fake tensors: shapes and types without data, so that a step of any size runs on a laptop."""

from __future__ import annotations

import torch
from torch import nn

from framework.adversarial_stage import AdversarialStage
from framework.cascade import Cascade
from framework.cost.step import build_sources, build_untrained
from framework.experiment import Experiment, Training
from framework.graph import Stage


def fake_stage(experiment: Experiment, stage: Stage, training: Training) -> AdversarialStage:
    """The stage on top of untrained sources, of fake CPU tensors. To be called, and used, in a ``FakeTensorMode``."""
    with torch.device("meta"):  # no weight is initialised there, which takes longer than counting the step
        model = build_untrained(experiment, stage, training)
    _fill(model)
    if model.sources is not None:
        _fill_all(model.sources)
    return model


def fake_cascade(experiment: Experiment, name: str) -> Cascade:
    """The stages up to ``name`` of fake CPU tensors, frozen."""
    with torch.device("meta"):
        cascade = build_sources(experiment, name)
    _fill_all(cascade)
    return cascade


def _fill_all(cascade: Cascade) -> None:
    for link in cascade.links:
        _fill(link.generator)


def _fill(network: nn.Module) -> None:
    """Put tensors of the default device in place of the network's; ``to_empty`` cannot swap fake ones."""
    for module in network.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                data = torch.empty(parameter.shape, dtype=parameter.dtype)
                module._parameters[name] = nn.Parameter(data, parameter.requires_grad)
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = torch.empty(buffer.shape, dtype=buffer.dtype)
