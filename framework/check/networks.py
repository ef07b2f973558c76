"""The networks of every stage, built and run at full size on the meta device, which holds no data."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar

import attrs
import torch
from torch import Tensor

from components.clip import Clip
from components.discriminators import Discriminator
from framework.build import build_discriminators, build_generator, build_loss, build_stage_view, stage_path
from framework.check.findings import Findings
from framework.experiment import Experiment
from framework.graph import Stage, StageGraph
from registry import DISCRIMINATORS, GENERATORS, InputError
from registry.options import given_to

T = TypeVar("T")

_BATCH = 2


def check_networks(experiment: Experiment, findings: Findings) -> None:
    """Each stage's networks take what they are given and make what they must."""
    graph = experiment.graph
    for stage in graph.stages:
        where = stage_path(stage)
        _discriminators_named(graph, stage, findings)
        needed = [f"{where}.{part}" for part in ("name", "clip", "source", "view", "window")]
        if findings.sound(*needed, "graph.classes"):
            with torch.device("meta"):
                _generator(graph, stage, findings)
                _discriminators(graph, stage, findings)
        if findings.sound(f"{where}.loss"):
            _try(findings, f"{where}.loss", partial(build_loss, stage))


def _discriminators_named(graph: StageGraph, stage: Stage, findings: Findings) -> None:
    where = f"{stage_path(stage)}.discriminators"
    if not findings.sound(where):
        return
    if not stage.discriminators and not any(consumer.joint for consumer in graph.consumers(stage.name)):
        findings.add(where, "a stage that trains on its own needs one", ", ".join(DISCRIMINATORS.names()))
    if stage.joint and stage.source is None:
        findings.add(f"{stage_path(stage)}.joint", "the base stage has no source to train with", "false")


def _generator(graph: StageGraph, stage: Stage, findings: Findings) -> None:
    where = f"{stage_path(stage)}.generator"
    if not findings.sound(where):
        return
    takes = given_to(GENERATORS.find(stage.generator.type))
    if stage.source is None and takes.get("view"):
        findings.add(where, f"{stage.generator.type} upsamples, but the stage has no source", _generators(view=False))
        return
    if stage.source is not None and "view" not in takes:
        what = f"{stage.generator.type} takes no low-resolution video, but the stage has the source {stage.source!r}"
        findings.add(where, what, _generators(view=True))
        return
    generator = _try(findings, where, lambda: build_generator(graph, stage))
    if generator is None:
        return
    x_l, y = _low_resolution(stage), _labels(graph)
    made = _try(findings, where, lambda: generator(torch.zeros(_BATCH, generator.noise_dim), y, x_l))
    if made is not None and tuple(made.shape) != stage.training_clip.shape(_BATCH):
        findings.add(where, f"makes {_as_clip(made, stage.clip)}, not the stage's window", str(stage.training_clip))


def _discriminators(graph: StageGraph, stage: Stage, findings: Findings) -> None:
    where = f"{stage_path(stage)}.discriminators"
    x, x_l, y = torch.zeros(stage.training_clip.shape(_BATCH)), _low_resolution(stage), _labels(graph)
    for name, component in stage.discriminators.items():
        place = f"{where}.{name}"
        if not findings.sound(place):
            continue
        if stage.source is None and given_to(DISCRIMINATORS.find(component.type)).get("view"):
            findings.add(
                place, f"{component.type} compares with a source, but the stage has none", "another, or a source"
            )
            continue
        network = _try(findings, place, partial(_discriminator, graph, stage, name))
        if network is None:
            continue
        scores = _try(findings, place, partial(network, x, y, x_l))
        if scores is not None and (scores.dim() != 2 or len(scores) != _BATCH):
            findings.add(place, f"scores have the shape {tuple(scores.shape)}", "(batch, outputs)")


def _discriminator(graph: StageGraph, stage: Stage, name: str) -> Discriminator:
    """One of the stage's discriminators by itself, so that each is checked whatever the others do."""
    alone = attrs.evolve(stage, discriminators={name: stage.discriminators[name]})
    return build_discriminators(graph, alone)[name]


def _low_resolution(stage: Stage) -> Tensor | None:
    view = build_stage_view(stage)
    return None if view is None else torch.zeros(view.clip(stage.training_clip).shape(_BATCH))


def _labels(graph: StageGraph) -> Tensor | None:
    return None if graph.classes is None else torch.zeros(_BATCH, dtype=torch.long)


def _generators(*, view: bool) -> str:
    return ", ".join(name for name in GENERATORS.names() if ("view" in given_to(GENERATORS.find(name))) is view)


def _as_clip(video: Tensor, like: Clip) -> str:
    if video.dim() != 5:
        return f"a tensor of shape {tuple(video.shape)}"
    _, frames, channels, height, width = video.shape
    return str(Clip(frames, height, width, channels, like.stride))


def _try(findings: Findings, where: str, make: Callable[[], T]) -> T | None:
    """The result of ``make``, or None with the failure noted: a component of the user's own may fail in any way."""
    try:
        return make()
    except InputError as error:
        prefixed = error if all(p.where.startswith(where) for p in error.problems) else error.under(where)
        findings.take(prefixed)
    except (RuntimeError, TypeError, ValueError, AttributeError, IndexError) as error:
        findings.add(
            where, f"fails with {type(error).__name__}: {str(error).splitlines()[0] if str(error) else error!r}"
        )
    return None
