"""The tiny cascade of these tests, and torch's own count of its real steps to hold predictions against."""

from __future__ import annotations

from functools import cache

from tiny_runs import two_stages
from torch.utils.flop_counter import FlopCounterMode

from framework.cost.cards import find_card
from framework.cost.step import build_step
from framework.cost.summary import Setting
from framework.cost.updates import count_updates

CLIPS = 6
OPTIONS = [
    {},
    {"clips_per_gpu": 2, "activation_checkpointing": True, "on_divergence": "skip"},
    {"precision": "bfloat16", "r1": 1.0, "max_grad_norm": 1.0, "average": 0.9, "discriminator_steps": 1},
]


def tiny(**training):
    """4x4/4 to 8x8/8, and its training by stage name."""
    experiment = two_stages(**training)
    return experiment, {stage.name: experiment.training_of(stage) for stage in experiment.graph.stages}


@cache
def counted(name, clips=CLIPS, window=0, **training):
    """The updates of a stage of :func:`tiny`, on fake tensors, as a CPU makes them."""
    experiment, of = tiny(**training)
    return count_updates(experiment, name, of[name], clips, window=window, device="cpu")


def real_step(name, clips=CLIPS, window=0, **training):
    """A real iteration of the same."""
    experiment, of = tiny(**training)
    step = build_step(experiment, name, of[name], clips)
    data = step.model.data
    data.draw_window = lambda: data.window(window)
    return step


def flops(call):
    """FLOPs of a call as torch counts them."""
    with FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops()


def setting(**fields):
    """One H100."""
    return Setting(**{"card": find_card("h100"), **fields})
