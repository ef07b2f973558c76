"""What an update is made of: pairs of videos, and the parts that a batch is cut into."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
from torch import Tensor

from components.clip import Span
from framework.classifier import ClassifierExperiment
from framework.experiment import Experiment
from registry import InputError, Problem
from registry.errors import join


@attrs.frozen(eq=False)
class Pair:
    """Videos beside their low-resolution views, all real or all generated."""

    x: Tensor
    """``(B, T, C, H, W)``, values in [-1, 1]."""
    x_l: Tensor | None
    """``(B, T_l, C, H_l, W_l)``, values in [-1, 1]; None in the base stage."""
    y: Tensor | None
    """Class indices ``(B,)``; None when unconditional."""


@attrs.frozen(eq=False)
class Latents:
    """What generated videos are made of, besides their classes."""

    z: Tensor
    """The stage's own noise ``(B, noise_dim)``."""
    of_sources: Sequence[Tensor] = ()
    """What the prefix drew for each clip: noise ``(B, noise_dim)`` of each source; or, of a bank, videos and places."""
    window: Span | None = None
    """The frames of the source's video that are upsampled, where all clips have the same; None in the base stage."""

    def __getitem__(self, part: slice) -> Latents:
        """Those of some of the clips."""
        return Latents(self.z[part], [noise[part] for noise in self.of_sources], self.window)


def take(batch: Mapping[str, Any], part: slice) -> dict[str, Any]:
    """Some of the clips of a loader's batch."""
    return {name: values[part] for name, values in batch.items()}


def share(batch_size: int, world: int) -> int:
    """How many clips of a batch each of ``world`` processes takes.

    Raises:
        InputError: they cannot share it evenly.
    """
    if batch_size % world:
        below = batch_size - batch_size % world
        allowed = f"a multiple of {world}: {below} or {below + world}" if below else f"a multiple of {world}"
        raise InputError.of("batch_size", f"{batch_size} clips cannot be shared evenly by {world} processes", allowed)
    return batch_size // world


def refuse_uneven(experiment: Experiment | ClassifierExperiment, world: int) -> None:
    """Refuse batches that ``world`` processes cannot share.

    Raises:
        InputError: naming each stage's training that has such a batch, and sizes that would do.
    """
    if isinstance(experiment, ClassifierExperiment):
        try:
            share(experiment.training.batch_size, world)
        except InputError as error:
            raise error.under("training") from None
        return
    problems: dict[Problem, None] = {}
    for stage in experiment.graph.stages:
        try:
            share(experiment.training_of(stage).batch_size, world)
        except InputError as error:
            own = "batch_size" in stage.training
            where = join("graph.stages", stage.name, "training") if own else "training"
            problems.update(dict.fromkeys(error.under(where).problems))
    if problems:
        raise InputError(problems)


def least_parts(clips: int, most: int | None) -> int:
    """The least number of equal parts of ``clips`` clips that have at most ``most`` each; without a bound, one."""
    return 1 if most is None else next(n for n in range(1, clips + 1) if clips % n == 0 and clips // n <= most)


def slices(clips: int, parts: int) -> list[slice]:
    """``parts`` equal parts of ``clips`` clips, one after another."""
    size = clips // parts
    return [slice(start, start + size) for start in range(0, clips, size)]
