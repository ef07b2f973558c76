"""Floating-point operations of a step at full width, on the meta device: no values, no time."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import cast

import attrs
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from components.clip import Span
from framework.cascade import Cascade
from framework.cost.step import StageStep, build_step
from framework.experiment import Experiment
from framework.update import NetworkOptimizer

WINDOWS = 5
"""Windows that the frozen stages are counted for, from the first to the last."""


@attrs.frozen
class Count:
    """Operations of one iteration, for each clip of its batch."""

    own: int
    """Of the stage that trains."""
    prefix: float
    """Of the frozen stages before it, the mean over windows; 0 in a base stage."""


def count(experiment: Experiment, stage: str) -> Count:
    """The operations of one iteration of ``stage`` with one clip, in convolutions and products of matrices."""
    step = _on_meta(experiment, stage)
    model, batch = step.model, step.batches[0]
    meter, updates = cast(NetworkOptimizer, Meter()), len(step.batches)

    def own() -> int:
        of_D = operations(lambda: model.update_D(batch, meter))  # noqa: N806  # as the method names it
        return updates * of_D + operations(lambda: model.update_G(batch, meter))

    sources, view = model.sources, model.view
    if sources is None or view is None:
        return Count(own(), 0)
    y, each = model.data.labels(batch, model.device), []
    for number in range(WINDOWS):
        window = model.data.window(number * (model.data.starts - 1) // (WINDOWS - 1))
        span = Span(window.start // view.time, window.stop // view.time, sources.clip.frames)
        each.append(operations(lambda span=span: sources.frames(sources.noise(1), y, span)))  # type: ignore[misc]
    with given(sources, low_windows(step, 1, model.device)):
        return Count(own(), (updates + 1) * statistics.mean(each))


@contextmanager
def given(sources: Cascade, frames: Tensor) -> Iterator[None]:
    """The frozen stages give ``frames`` whatever they are asked for, at no cost."""
    sources.frames = lambda *_: frames  # type: ignore[method-assign]
    try:
        yield
    finally:
        del sources.frames  # the class's own is there again


def low_windows(step: StageStep, batch: int, device: torch.device) -> Tensor:
    """Low-resolution windows of the right shape, ``(B, T_l, C, H_l, W_l)``."""
    stage, view = step.model.stage, step.model.view
    assert view is not None  # noqa: S101  # an upsampling stage
    return torch.zeros(view.clip(stage.training_clip).shape(batch), device=device)


class Meter:
    """An optimizer that goes backward and applies nothing: on the meta device there are no values to look at."""

    def autocast(self) -> AbstractContextManager[None]:
        """As it is."""
        return nullcontext()

    def backward(self, loss: Tensor) -> None:
        """Go backward."""
        loss.backward()

    def finish(self, losses: Sequence[Tensor]) -> Tensor:
        """Apply nothing."""
        return torch.zeros(())


def operations(call: Callable[[], object]) -> int:
    """Floating-point operations of ``call``, in convolutions and products of matrices."""
    with FlopCounterMode(display=False) as counter:
        call()
    return int(counter.get_total_flops())


def _on_meta(experiment: Experiment, stage: str) -> StageStep:
    with torch.device("meta"):
        step = build_step(experiment, stage, experiment.training_of(experiment.graph[stage]), 1, "meta")
    pixels = torch.zeros(step.batches[0]["frames"].shape, dtype=torch.uint8)
    batch = {"frames": pixels, "label": torch.zeros(1, dtype=torch.int64)}
    return StageStep(step.model, step.optimizers, [batch] * len(step.batches))
