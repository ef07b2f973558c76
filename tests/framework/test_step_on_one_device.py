"""A whole iteration stays on the device of its networks, whatever the rules of its updates."""

from contextlib import nullcontext

import attrs
import pytest
import torch
from one_device import OneDevice
from small_specs import GENERATOR, base_stage, small, upsampling_stage

from framework import Clip, Training, use
from framework.cost.step import build_untrained, step_of

RULES = {
    "as in the paper": {},
    "r1": {"r1": 1.0},
    "parts": {"clips_per_gpu": 1},
    "computed again": {"activation_checkpointing": True},
    "one x_l": {"prefix": "iteration", "clips_per_gpu": 1},
    "averaged": {"average": 0.9},
    "undone": {"on_divergence": "skip"},
    "two passes": {"one_pass": False},
    "by layer": {"power_iterations": "by layer"},
    "channels first": {"channels_last": False},
}
THREE = small(
    base_stage(clip=Clip(2, 4, 4, stride=4)),
    upsampling_stage("mid", clip=Clip(4, 8, 8, stride=2), window=2),
    upsampling_stage(
        "full",
        "mid",
        clip=Clip(8, 16, 16),
        view=use("AntialiasedView", time=2, space=2),
        generator=use("UpsamplingGenerator", **{**GENERATOR, "multipliers": [1, 1]}),
        loss=use("NonSaturating"),
    ),
    clip=Clip(8, 16, 16),
)
"""A frozen prefix of two stages, and a view that needs kernels."""


class Optimizer:
    """As :class:`framework.update.NetworkOptimizer`, but for what asks a tensor for its value, and without autocast."""

    def __init__(self, wrapper):
        self.optimizer = wrapper.optimizer

    def autocast(self):
        return nullcontext()

    def backward(self, loss):
        loss.backward()

    def finish(self, losses):
        norm = torch.nn.utils.get_total_norm([p.grad for group in self.optimizer.param_groups for p in group["params"]])
        self.optimizer.step()
        self.optimizer.zero_grad()
        return norm


def iterated(experiment, name, training):
    """Two iterations on the meta device; what the second has made elsewhere, and its log."""
    with torch.device("meta"):
        model = build_untrained(experiment, experiment.graph[name], training)
    step = step_of(model, experiment, training, 2)
    optimizers = {key: Optimizer(wrapper) for key, wrapper in step.optimizers.items()}
    for _ in range(2):
        with OneDevice() as mode:
            log = model.train_step(step.batches, optimizers)
    return mode.elsewhere, log


@pytest.mark.parametrize("rules", RULES, ids=lambda name: name.replace(" ", "_"))
def test_every_way_to_make_an_iteration(rules):
    """Nothing is made elsewhere, and all that is logged lies with the networks, so that it adds up without waiting."""
    training = attrs.evolve(Training(fused_adam=False), **RULES[rules])
    elsewhere, log = iterated(small(), "full", training)
    assert elsewhere == []
    assert {value.device.type for value in log.values()} == {"meta"}
    assert {"loss_D", "loss_G", "grad_norm_D", "grad_norm_G"} <= log.keys()


@pytest.mark.parametrize("stage", THREE.graph.names())
def test_every_stage_of_a_cascade(stage):
    """With none, one and two frozen stages before it."""
    elsewhere, _ = iterated(THREE, stage, Training(fused_adam=False))
    assert elsewhere == []
