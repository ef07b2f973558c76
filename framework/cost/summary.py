"""All that training and generating with a cascade cost, stage by stage."""

from __future__ import annotations

from collections.abc import Mapping

import attrs
import torch

from framework.batch import least_parts, share
from framework.check.findings import Findings
from framework.check.training import check_training
from framework.cost.cards import Card
from framework.cost.generation import flops_per_clip
from framework.cost.interconnect import traffic_of
from framework.cost.memory import Memory, MemoryLaw, peak_of
from framework.cost.prefix import prefix_of_iteration
from framework.cost.step import build_untrained
from framework.cost.totals import Totals, totals
from framework.cost.updates import PARTS, Updates, count_updates, windows_of
from framework.experiment import Experiment, Training
from framework.graph import Stage
from framework.update import Precision
from registry import InputError
from registry.errors import join

CONTEXT = 1e9
"""Bytes of a GPU that CUDA's context, cuDNN's and NCCL's own memory are taken to need."""
FRAGMENTS = 0.05
"""Share of a GPU's memory that the allocator is taken to lose between blocks."""
DAY = 24 * 3600


@attrs.frozen(kw_only=True)
class Setting:
    """Where, and how, a cascade is to be trained."""

    card: Card
    gpus: int = 1
    batch: int | None = None
    """Clips in an update, of one GPU; None is the GPU's share of the spec's batch."""
    precision: Precision | None = None
    """None is the spec's."""
    efficiency: float = 1.0
    """Share of the bound that computing is taken to reach."""

    @property
    def capacity(self) -> float:
        """Bytes of a GPU that a step can have."""
        return self.card.memory * (1 - FRAGMENTS) - CONTEXT


@attrs.frozen(kw_only=True)
class StageCost:
    """What one stage costs."""

    name: str
    clip: str
    window: str
    parameters: Mapping[str, int]
    """Of each network, by its name."""
    clips: int
    """In an update, of one GPU."""
    parts: int
    """That they go through the networks in."""
    iteration: Mapping[str, Totals]
    """Of one iteration, by :data:`~framework.cost.updates.PARTS`, the prefix as a mean over windows. Times are those
    of the bound divided by the efficiency."""
    flops_alone: int
    """Of the stage alone, for one generated clip of its whole length."""
    flops_cascade: int
    """Of the cascade up to it."""
    memory: Memory
    most_clips: int
    """At once, that fit the GPU."""
    advice: int | None
    """The most ``clips_per_gpu`` that make it fit, where it does not; 0 if none does."""
    exchange: float
    """Seconds of an iteration that GPUs need to agree on gradients and statistics, none of it hidden."""
    iterations: int

    @property
    def total(self) -> Totals:
        """Of one iteration, but for the exchange."""
        return sum(self.iteration.values(), Totals())

    @property
    def own(self) -> Totals:
        """The same without the frozen prefix."""
        return sum((value for part, value in self.iteration.items() if part != "prefix"), Totals())

    @property
    def seconds(self) -> float:
        """Of one iteration, the exchange included."""
        return self.total.seconds + self.exchange

    @property
    def days(self) -> float:
        """Of all iterations."""
        return self.seconds * self.iterations / DAY


def summarise(experiment: Experiment, setting: Setting) -> list[StageCost]:
    """What every stage costs, in the order of training.

    Raises:
        InputError: the GPUs cannot share a batch.
    """
    costs: dict[str, StageCost] = {}
    for stage in experiment.graph.order():
        costs[stage.name] = stage_cost(experiment, stage, setting, costs.get(stage.source or ""))
    return list(costs.values())


def stage_cost(experiment: Experiment, stage: Stage, setting: Setting, source: StageCost | None) -> StageCost:
    """What ``stage`` costs; ``source`` is what its source does.

    Raises:
        InputError: the GPUs cannot share its batch.
    """
    if stage.joint:
        raise InputError.of(join("graph.stages", stage.name, "joint"), "joint training is not built yet", "false")
    training = training_of(experiment, stage, setting)
    clips = clips_of(stage, training, setting)
    updates = count_updates(
        experiment, stage.name, training, clips, window=windows_of(experiment, stage) - 1, gpus=setting.gpus
    )
    law = memory_law(experiment, stage, training, setting, updates)
    with torch.device("meta"):
        model = build_untrained(experiment, stage, training)
    networks = {"generator": model.generator, **model.discriminators}
    memory = peak_of(updates)
    alone = flops_per_clip(experiment, stage.name)
    return StageCost(
        name=stage.name,
        clip=str(stage.clip),
        window=str(stage.training_clip),
        parameters={name: sum(p.numel() for p in network.parameters()) for name, network in networks.items()},
        clips=clips,
        parts=updates.parts,
        iteration=iteration(experiment, stage, training, setting, updates),
        flops_alone=alone,
        flops_cascade=alone + (source.flops_cascade if source else 0),
        memory=memory,
        most_clips=law.most_clips(setting.capacity),
        advice=_advice(law, memory, updates, setting),
        exchange=traffic_of(model, training.discriminator_steps, updates.parts).seconds(setting.card, setting.gpus),
        iterations=training.iterations,
    )


def in_precision(experiment: Experiment, precision: Precision | None) -> Experiment:
    """``experiment`` with all its stages in ``precision``; None leaves each in its own.

    Raises:
        InputError: a stage cannot train in it, as the check of a spec says it.
    """
    if precision is None:
        return experiment
    stages = [
        attrs.evolve(stage, training={**stage.training, "precision": precision})
        if "precision" in stage.training
        else stage
        for stage in experiment.graph.stages
    ]
    graph = attrs.evolve(experiment.graph, stages=stages)
    changed = attrs.evolve(experiment, graph=graph, training=attrs.evolve(experiment.training, precision=precision))
    check_training(changed, findings := Findings())
    if findings.problems:
        raise InputError(findings.problems)
    return changed


def training_of(experiment: Experiment, stage: Stage, setting: Setting) -> Training:
    """The stage's training in the setting's precision."""
    training = experiment.training_of(stage)
    return training if setting.precision is None else attrs.evolve(training, precision=setting.precision)


def clips_of(stage: Stage, training: Training, setting: Setting) -> int:
    """Clips in an update, of one GPU.

    Raises:
        InputError: the GPUs cannot share the batch.
    """
    if setting.batch is not None:
        return setting.batch
    try:
        return share(training.batch_size, setting.gpus)
    except InputError as error:
        where = join("graph.stages", stage.name, "training") if "batch_size" in stage.training else "training"
        raise error.under(where) from None


def iteration(
    experiment: Experiment, stage: Stage, training: Training, setting: Setting, updates: Updates
) -> dict[str, Totals]:
    """FLOPs, bytes and time of one iteration by part, the prefix as a mean over windows."""
    found = {
        part: totals(((o, updates.times(o)) for o in updates.operations if o.part == part), setting.card)
        for part in PARTS
    }
    found["prefix"] = prefix_of_iteration(experiment, stage.name, training, updates.clips, setting.card)
    return {
        part: attrs.evolve(value, seconds=value.seconds / setting.efficiency)
        for part, value in found.items()
        if part != "prefix" or stage.source
    }


def memory_law(
    experiment: Experiment, stage: Stage, training: Training, setting: Setting, updates: Updates
) -> MemoryLaw:
    """The law of the stage's peak, from ``updates`` and from the same with one more clip at once."""
    at_once, parts = updates.clips // updates.parts, updates.parts

    def count(clips: int) -> Updates:
        at_most = attrs.evolve(training, clips_per_gpu=None if parts == 1 else clips)
        window = windows_of(experiment, stage) - 1
        return count_updates(experiment, stage.name, at_most, clips * parts, window=window, gpus=setting.gpus)

    # A batch of one has strides that say the same in several ways, and is copied where others are not.
    return MemoryLaw(updates if at_once > 1 else count(2), count(max(at_once, 2) + 1))


def _advice(law: MemoryLaw, memory: Memory, updates: Updates, setting: Setting) -> int | None:
    if memory.total <= setting.capacity:
        return None
    # A part after the first finds the gradients of those before it.
    most = law.most_clips(setting.capacity - (updates.weights if updates.gpus == updates.parts == 1 else 0))
    return 0 if most == 0 else updates.clips // least_parts(updates.clips, most)
