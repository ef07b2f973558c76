"""How a cascade's costs grow with the length and the resolution of its videos."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import attrs

from framework.cost.memory import peak_of
from framework.cost.prefix import prefix_of_iteration
from framework.cost.summary import Setting, clips_of, training_of
from framework.cost.totals import Totals, totals
from framework.cost.updates import Updates, count_updates, windows_of
from framework.experiment import Experiment
from framework.graph import Stage, StageGraph
from registry import DISCRIMINATORS, Component, InputError, use
from registry.options import given_to

LENGTHS = (1, 2, 4)
SIZES = (0.5, 1, 2)
SINGLE = "single stage"
_PROGRESSION = (8, 8, 8, 4, 2)
"""BigGAN's multipliers at 128x128; smaller and larger videos have fewer and more of the first."""


@attrs.frozen
class Point:
    """What an iteration of a stage costs at some length and resolution."""

    own: Totals
    """Without the frozen prefix."""
    prefix: Totals
    """The prefix, mean over windows."""
    memory: float
    """Peak, bytes."""


Curve = tuple[Point | None, ...]
"""At each of the factors; None where the networks cannot be that size."""


@attrs.frozen
class Growth:
    """By stage, in the order of training, and for a single stage of the same output."""

    length: Mapping[str, Curve]
    """At :data:`LENGTHS` times the frames, windows as they are."""
    size: Mapping[str, Curve]
    """At :data:`SIZES` times the height and width, every network with as many more multipliers."""


def growth(experiment: Experiment, setting: Setting, single: Experiment | None = None) -> Growth:
    """Count the iterations of every stage of ``experiment``, and of a single stage, at other lengths and sizes.

    Args:
        experiment: checked.
        setting: in which it is to train.
        single: of one stage; default :func:`single_stage`.
    """
    single = single or single_stage(experiment)
    named = [(name, experiment) for name in (stage.name for stage in experiment.graph.order())]
    named.append((SINGLE, single))
    length, size = {}, {}
    for label, each in named:
        name = each.graph.names()[0] if label == SINGLE else label
        length[label] = _over_length(each, name, setting)
        size[label] = tuple(_at_size(each, name, setting, factor) for factor in SIZES)
    return Growth(length, size)


def single_stage(experiment: Experiment) -> Experiment:
    """A DVD-GAN of the same output in one stage, with the last stage's discriminators that look at videos alone."""
    graph = experiment.graph
    last = graph.leaves()[-1]
    units = round(math.log2(last.clip.height / 4))
    multipliers = [_PROGRESSION[0]] * max(0, units - len(_PROGRESSION)) + list(_PROGRESSION[-units:])
    discriminators = {
        name: component
        for name, component in last.discriminators.items()
        if not given_to(DISCRIMINATORS.find(component.type)).get("view")
    }
    generator = use("DVDGenerator", channels=128, multipliers=multipliers)
    stage = Stage("single", clip=last.clip, generator=generator, discriminators=discriminators, training=last.training)
    alone = StageGraph(clip=last.clip, stages=[stage], classes=graph.classes)
    return attrs.evolve(experiment, name="single_stage", graph=alone)


def scaled(experiment: Experiment, frames: float = 1, size: float = 1) -> Experiment:
    """The experiment at ``frames`` times the length, windows as they are, and ``size`` times height and width."""
    graph = experiment.graph
    stages = [
        attrs.evolve(
            stage,
            clip=_scaled_clip(stage, frames, size),
            generator=_resized(stage.generator, size),
            discriminators={name: _resized(component, size) for name, component in stage.discriminators.items()},
        )
        for stage in graph.stages
    ]
    top = attrs.evolve(
        graph.clip,
        frames=round(graph.clip.frames * frames),
        height=round(graph.clip.height * size),
        width=round(graph.clip.width * size),
    )
    return attrs.evolve(experiment, graph=attrs.evolve(graph, clip=top, stages=stages))


def _scaled_clip(stage: Stage, frames: float, size: float) -> Any:
    clip = stage.clip
    return attrs.evolve(
        clip,
        frames=round(clip.frames * frames),
        height=round(clip.height * size),
        width=round(clip.width * size),
    )


def _resized(component: Component, size: float) -> Component:
    """A network of videos ``size`` times as large: the first multiplier once more for each doubling, or left out."""
    multipliers = component.options.get("multipliers")
    if multipliers is None:
        return component
    more = round(math.log2(size))
    changed = [*[multipliers[0]] * more, *multipliers[max(0, -more) :]]
    return attrs.evolve(component, options={**component.options, "multipliers": changed})


def _over_length(experiment: Experiment, name: str, setting: Setting) -> Curve:
    stage = experiment.graph[name]
    if stage.source is not None:
        return tuple(_point(scaled(experiment, factor), name, setting) for factor in LENGTHS)
    # A stage of whole clips grows with each frame alike, but its step takes as much longer to count. The peak is the
    # largest of lines, so that where another instant takes over, the line through two lengths lies below it.
    frames = stage.clip.frames
    fewer = frames - max(1, frames // 4)
    shorter = attrs.evolve(stage, clip=attrs.evolve(stage.clip, frames=fewer))
    base = attrs.evolve(experiment, graph=attrs.evolve(experiment.graph, clip=shorter.clip, stages=[shorter]))
    at, below = _point(experiment, name, setting), _point(base, name, setting)
    return tuple(_extrapolated(below, at, fewer, frames, factor * frames) for factor in LENGTHS)


def _extrapolated(below: Point, at: Point, fewer: int, frames: int, wanted: int) -> Point:
    """On the line through two lengths."""
    share = (wanted - frames) / (frames - fewer)
    own = at.own * (1 + share) + below.own * -share
    return Point(own, Totals(), at.memory * (1 + share) - below.memory * share)


def _at_size(experiment: Experiment, name: str, setting: Setting, factor: float) -> Point | None:
    try:
        return _point(scaled(experiment, 1, factor), name, setting)
    except InputError:
        return None  # fewer multipliers than it needs, or more pixels than they make


def _point(experiment: Experiment, name: str, setting: Setting) -> Point:
    stage = experiment.graph[name]
    training = training_of(experiment, stage, setting)
    clips = clips_of(stage, training, setting)
    window = windows_of(experiment, stage) - 1
    updates = count_updates(experiment, name, training, clips, window=window, gpus=setting.gpus)
    prefix = prefix_of_iteration(experiment, name, training, clips, setting.card, windows=2)
    return Point(_own(updates, setting), prefix, peak_of(updates).total)


def _own(updates: Updates, setting: Setting) -> Totals:
    own = ((o, updates.times(o)) for o in updates.operations if o.part != "prefix")
    found = totals(own, setting.card)
    return attrs.evolve(found, seconds=found.seconds / setting.efficiency)
