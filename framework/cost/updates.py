"""The updates of a stage, counted: the real step on fake tensors, operation by operation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, ParamSpec, TypeVar

import attrs
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from framework.batch import least_parts
from framework.build import build_data_route, build_stage_view
from framework.cost.fake import fake_stage
from framework.cost.meter import Meter, Operation
from framework.cost.step import StageStep, step_of
from framework.cost.tracker import StepTracker
from framework.experiment import Experiment, Training
from framework.graph import Stage
from framework.stage_data import StageData

P = ParamSpec("P")
R = TypeVar("R")

PARTS = ("prefix", "generator", "discriminators", "optimizer", "rest")
"""What an operation of an update belongs to: the frozen sources, a network's forward and backward passes, the norm of
the gradients and Adam, and the loss with the views of the data."""

DRAWN_ONCE = "x̂_l"
"""The phase in which x̂_l is drawn, where it is once for all updates."""

Device = Literal["gpu", "cpu"]
"""Where the step is to run: on a GPU Adam goes over all weights at once, with temporaries of their size."""


@attrs.frozen(eq=False)
class Updates:
    """One update of the discriminators and then one of the generator, as they are in the midst of training."""

    operations: Sequence[Operation]
    """Their ``phase`` is ``"D"`` or ``"G"``, or :data:`DRAWN_ONCE`; their ``part`` one of :data:`PARTS`; ``turn`` is 0
    for the first part of a batch and for what is done once, 1 for its second part."""
    clips: int
    """Clips in an update, of one GPU."""
    parts: int
    """Equal parts that they go through the networks in. All after the second cost what the second does."""
    discriminator_steps: int
    gpus: int
    weights: int
    """Bytes of what is trained; the rest of the tracker's parameters is the frozen sources'."""
    states: int
    """Bytes of the optimizers' states."""

    def times(self, operation: Operation) -> int:
        """How often the operation is done in one iteration."""
        updates = self.discriminator_steps if operation.phase == "D" else 1
        return updates * (self.parts - 1 if operation.turn else 1)


def count_updates(
    experiment: Experiment,
    name: str,
    training: Training,
    clips: int,
    *,
    window: int = 0,
    memory: bool = True,
    device: Device = "gpu",
    gpus: int = 1,
) -> Updates:
    """Run the stage's step on fake tensors and note what each operation costs.

    Nothing is compiled: compiled code is not known before it is, and takes no more memory.

    Args:
        experiment: checked.
        name: of the stage.
        training: of the stage, perhaps with options changed.
        clips: in an update, of one GPU.
        window: which window of its clip the stage trains on.
        memory: whether to track it, which takes half as long again.
        device: where the step is to run.
        gpus: how many train together.
    """
    parts = least_parts(clips, training.clips_per_gpu)
    at_once = clips // parts
    training = attrs.evolve(training, compile=(), clips_per_gpu=at_once)
    stage = experiment.graph[name]
    with FakeTensorMode():
        step = step_of(fake_stage(experiment, stage, training), experiment, training, at_once * min(parts, 2))
        _in_the_midst(step, device)
        tracker = _tracker_of(step) if memory else None
        weights, states = _held_by(step)
        meter = Meter(window, tracker)
        _divide(step, meter)
        with meter:
            step.model.train_step(step.batches[:1], step.optimizers)
    return Updates(meter.operations, clips, parts, training.discriminator_steps, gpus, weights, states)


def windows_of(experiment: Experiment, stage: Stage) -> int:
    """How many windows the stage's clip has. Before the last one its sources have most to compute."""
    graph = experiment.graph
    return StageData(graph, stage, build_data_route(graph, stage), build_stage_view(stage)).starts


def _in_the_midst(step: StageStep, device: Device) -> None:
    """The optimizers have their states, and go over the weights as they do on the device by default."""
    for wrapper in step.optimizers.values():
        for group in wrapper.optimizer.param_groups:
            if device == "gpu" and not group.get("fused"):
                group["foreach"] = True
            for parameter in group["params"]:
                parameter.grad = torch.zeros_like(parameter)
        wrapper.optimizer.step()
        wrapper.zero_grad()


def _tracker_of(step: StageStep) -> StepTracker:
    model, tracker = step.model, StepTracker()
    tracker.watch(model.generator, step.optimizers["generator"].optimizer)
    tracker.watch(model.discriminators, step.optimizers["discriminator"].optimizer)
    for link in () if model.sources is None else model.sources.links:
        tracker.track_external(link.generator)
    if model.average is not None:
        tracker.track_external(*model.average.parameters.values())
    return tracker


def _held_by(step: StageStep) -> tuple[int, int]:
    """Bytes of the trained weights, and of the optimizers' states."""
    states = [
        value
        for wrapper in step.optimizers.values()
        for state in wrapper.optimizer.state.values()
        for value in state.values()
        if isinstance(value, Tensor)
    ]
    return sum(p.nbytes for p in step.model.parameters()), sum(value.nbytes for value in states)


def _divide(step: StageStep, meter: Meter) -> None:
    """Have the meter know which update, which part of it and which part of the batch an operation belongs to."""
    model: Any = step.model
    meter.part = "rest"
    for phase, update in (("D", model.update_D), ("G", model.update_G)):
        setattr(model, f"update_{phase}", _beginning(meter, phase, update))
    model.draw_prefix = _beginning(meter, DRAWN_ONCE, model.draw_prefix)
    if model.sources is not None:
        model.sources.frames = _prefix(meter, model.sources.frames)
    for wrapper in step.optimizers.values():
        wrapper.backward = _ending_a_turn(meter, wrapper.backward)
        wrapper.finish = _once(meter, wrapper.finish)
    for part, network in (("generator", model.generator), ("discriminators", model.discriminators)):
        _mark(network, part, meter)


def _beginning(meter: Meter, phase: str, update: Callable[P, R]) -> Callable[P, R]:
    def begun(*arguments: P.args, **options: P.kwargs) -> R:
        meter.phase, meter.turn = phase, 0
        return update(*arguments, **options)

    return begun


def _prefix(meter: Meter, frames: Callable[P, R]) -> Callable[P, R]:
    def counted(*arguments: P.args, **options: P.kwargs) -> R:
        with meter.during("prefix"):
            result = frames(*arguments, **options)
        meter.turn += meter.phase == DRAWN_ONCE  # otherwise a part ends with its backward pass
        return result

    return counted


def _ending_a_turn(meter: Meter, backward: Callable[P, R]) -> Callable[P, R]:
    def ended(*arguments: P.args, **options: P.kwargs) -> R:
        with meter.during("rest"):  # until the gradient reaches a network, whose hooks say so
            result = backward(*arguments, **options)
        meter.turn += 1
        return result

    return ended


def _once(meter: Meter, finish: Callable[P, R]) -> Callable[P, R]:
    def finished(*arguments: P.args, **options: P.kwargs) -> R:
        meter.turn = 0
        with meter.during("optimizer"):
            return finish(*arguments, **options)

    return finished


def _mark(network: nn.Module, part: str, meter: Meter) -> None:
    """Operations of the network's forward passes belong to ``part``, and those that its outputs' gradients lead to."""
    before: list[str] = []

    def begin(*_: Any) -> None:
        before.append(meter.part)
        meter.part = part

    def backwards(_: Tensor) -> None:
        meter.part = part

    def end(_: nn.Module, __: Any, output: Tensor | dict[str, Tensor]) -> None:
        meter.part = before.pop()
        for each in output.values() if isinstance(output, dict) else [output]:
            if each.requires_grad:
                each.register_hook(backwards)  # type: ignore[no-untyped-call]  # so in torch

    network.register_forward_pre_hook(begin)
    network.register_forward_hook(end)
