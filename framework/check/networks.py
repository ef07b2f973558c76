"""The networks of every stage, built and run at full size on the meta device, which holds no data."""

from __future__ import annotations

from functools import partial

import attrs
import torch
from torch import Tensor

from components.clip import Clip, Span
from components.generators import Generator
from framework.build import build_discriminators, build_generator, build_loss, build_stage_view, stage_path
from framework.check.findings import Findings
from framework.check.views import as_clip, as_tensor
from framework.experiment import Experiment
from framework.graph import Stage, StageGraph
from registry import DISCRIMINATORS, GENERATORS, InputError, Registry
from registry.options import given_to

_BATCH = 2
_META = torch.device("meta")
"""Networks are built with it as the default device and run without, as they would be on a GPU: one that mixes
tensors of the default device with its input's is found here."""


def check_networks(experiment: Experiment, findings: Findings) -> None:
    """Each stage's networks take what they are given and make what they must."""
    graph = experiment.graph
    for stage in graph.stages:
        where = stage_path(stage)
        _trained_on_its_own(graph, stage, findings)
        needed = [f"{where}.{part}" for part in ("clip", "source", "view", "window")]
        if findings.sound(*needed, "graph.classes"):
            _generator(graph, stage, findings)
            if findings.sound(*needed, "graph.classes"):
                _discriminators(graph, stage, findings)
        if findings.sound(f"{where}.loss"):
            findings.attempt(f"{where}.loss", partial(build_loss, stage))


def _trained_on_its_own(graph: StageGraph, stage: Stage, findings: Findings) -> None:
    """Only a stage that trains together with another may be without discriminators."""
    where = stage_path(stage)
    if stage.joint and stage.source is None and findings.sound(f"{where}.source"):
        findings.add(f"{where}.joint", "the base stage has no source to train with", "false")
    after = graph.consumers(stage.name)
    alone = not any(each.joint or not findings.sound(f"{stage_path(each)}.joint") for each in after)
    if alone and not stage.discriminators and findings.sound(f"{where}.discriminators"):
        findings.add(f"{where}.discriminators", "a stage that trains on its own needs one", _discriminators_for(stage))


def _generator(graph: StageGraph, stage: Stage, findings: Findings) -> None:
    where = f"{stage_path(stage)}.generator"
    if not findings.sound(where):
        return
    takes = given_to(GENERATORS.find(stage.generator.type))
    if stage.source is None and takes.get("view"):
        findings.add(where, f"{stage.generator.type} upsamples, but the stage has no source", _generators(view=False))
    elif stage.source is not None and "view" not in takes:
        what = f"{stage.generator.type} takes no low-resolution video, but the stage has the source {stage.source!r}"
        findings.add(where, what, _generators(view=True))
    else:
        findings.attempt(where, partial(_generate, graph, stage), _given(GENERATORS, stage.generator.type, stage))


def _generate(graph: StageGraph, stage: Stage) -> None:
    """The generator makes the window, and the other lengths that it is run at (section 3.2)."""
    with _META:
        generator = build_generator(graph, stage)
    if stage.training_clip != stage.clip and generator.field_of_view.future is None:
        what = "makes each frame of all others (as attention over time does), so a window would be no part of the whole"
        raise InputError.of("", what, "no window, or a generator that looks only so many frames ahead")
    z = torch.zeros(_BATCH, generator.noise_dim, device=_META)
    video = generator(z, _labels(graph), _low_resolution(stage))
    if not isinstance(video, Tensor) or tuple(video.shape) != stage.training_clip.shape(_BATCH):
        raise InputError.of("", f"makes {as_clip(video, stage.clip)}, not the stage's window", str(stage.training_clip))
    for span in _spans(graph, stage):
        _generate_span(graph, stage, generator, z, span)


def _spans(graph: StageGraph, stage: Stage) -> list[Span]:
    """What else the generator is run at: the whole clip, as a trained stage is unrolled, and a part from its middle.

    A part is asked for where the stage, or one that trains on its videos, has a window.
    """
    frames, window = stage.clip.frames, stage.training_clip.frames
    view = build_stage_view(stage)
    time = 1 if view is None else view.time
    if window < frames:
        start = (frames - window) // 2 // time * time
        return [Span.whole(frames), Span(start, start + window, frames)]
    if any(each.training_clip != each.clip for each in graph.consumers(stage.name)):
        part = max(1, frames // 2)  # the whole clip is the window that the generator has just made
        start = (frames - part) // 2 // time * time
        return [Span(start, start + part, frames)]
    return [Span.whole(frames)]


def _generate_span(graph: StageGraph, stage: Stage, generator: Generator, z: Tensor, span: Span) -> None:
    """The generator is run as a cascade runs it."""
    allowed = "a generator of any frames of its clip"
    try:
        needed = generator.source_span(span)
        view = build_stage_view(stage)
        if needed is None or view is None:
            x_l = None
        else:
            x_l = _video(attrs.evolve(view.clip(stage.clip), frames=needed.frames))
        with torch.no_grad():
            video = generator(z, _labels(graph), x_l, span)
    except Exception as error:
        reason = next(iter(str(error).splitlines()), "(no message)")
        what = f"makes the stage's window, but fails with {type(error).__name__} when asked for {span}: {reason}"
        raise InputError.of("", what, allowed) from error
    if not isinstance(video, Tensor) or tuple(video.shape) != attrs.evolve(stage.clip, frames=span.frames).shape(
        _BATCH
    ):
        what = f"makes the stage's window, but {as_clip(video, stage.clip)} when asked for {span}"
        raise InputError.of("", what, allowed)


def _discriminators(graph: StageGraph, stage: Stage, findings: Findings) -> None:
    for name, component in stage.discriminators.items():
        where = f"{stage_path(stage)}.discriminators.{name}"
        if not findings.sound(where):
            continue
        if stage.source is None and _compares(component.type):
            what = f"{component.type} compares with a source, but the stage has none"
            findings.add(where, what, _discriminators_for(stage))
        else:
            given = _given(DISCRIMINATORS, component.type, stage)
            findings.attempt(where, partial(_score, graph, stage, name), given)


def _score(graph: StageGraph, stage: Stage, name: str) -> None:
    """One of the stage's discriminators by itself, so that each is checked whatever the others do."""
    alone = attrs.evolve(stage, discriminators={name: stage.discriminators[name]})
    with _META:
        discriminator = build_discriminators(graph, alone)[name]
    scores = discriminator(_video(stage.training_clip), _labels(graph), _low_resolution(stage))
    if not isinstance(scores, Tensor) or scores.dim() != 2 or len(scores) != _BATCH:
        raise InputError.of("", f"gives {as_tensor(scores)} as scores", f"a tensor of shape ({_BATCH}, outputs)")


def _given(kind: Registry, name: str, stage: Stage) -> dict[str, str]:
    """The fields of the spec that a component of the stage is given, by its parameter."""
    where = stage_path(stage)
    fields = {"clip": f"{where}.clip", "view": f"{where}.view", "classes": "graph.classes"}
    return {parameter: fields[parameter] for parameter in given_to(kind.find(name))}


def _low_resolution(stage: Stage) -> Tensor | None:
    view = build_stage_view(stage)
    return None if view is None else _video(view.clip(stage.training_clip))


def _video(clip: Clip) -> Tensor:
    return torch.zeros(clip.shape(_BATCH), device=_META)


def _labels(graph: StageGraph) -> Tensor | None:
    return None if graph.classes is None else torch.zeros(_BATCH, dtype=torch.long, device=_META)


def _generators(*, view: bool) -> str:
    return ", ".join(name for name in GENERATORS.names() if ("view" in given_to(GENERATORS.find(name))) is view)


def _compares(discriminator: str) -> bool:
    """Whether it cannot do without a low-resolution video."""
    return bool(given_to(DISCRIMINATORS.find(discriminator)).get("view"))


def _discriminators_for(stage: Stage) -> str:
    return ", ".join(name for name in DISCRIMINATORS.names() if stage.source is not None or not _compares(name))
