"""The shape of the graph: sources, order, views from each stage to its source, windows, and the data."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from components.clip import Clip
from components.views import View
from framework.build import build_data_route, build_stage_view, build_view, stage_path
from framework.check.findings import Findings
from framework.check.repair import is_stand_in
from framework.check.views import check_applied, noise
from framework.experiment import Experiment
from framework.graph import Stage, StageGraph
from registry import Problem
from registry.errors import nearest


def check_edges(experiment: Experiment, findings: Findings) -> None:
    """Everything about the graph that needs no network."""
    graph = experiment.graph
    if not graph.stages and findings.sound("graph.stages"):
        findings.add("graph.stages", "there is no stage", "at least one")
    connected = _sources(graph, findings)
    for stage in graph.stages:
        _view(graph, stage, findings)
        _window(stage, findings)
        needed = [f"{stage_path(stage)}.{part}" for part in ("clip", "source", "view", "window")]
        if stage.view is not None and findings.sound(*needed):
            check_applied(stage, findings)
    if connected:
        for stage in reversed(graph.order()):  # what a stage's data comes through is looked at before it
            _data(graph, stage, findings)


def _sources(graph: StageGraph, findings: Findings) -> bool:
    """Whether every stage leads back to one base stage."""
    for stage in graph.stages:
        _source_exists(graph, stage, findings)
    if len(set(graph.names())) < len(graph.stages):
        return False
    _no_circle(graph, findings)
    _one_base(graph, findings)
    return findings.sound(*map(_source_path, graph.stages))


def _source_exists(graph: StageGraph, stage: Stage, findings: Findings) -> None:
    where, names = _source_path(stage), graph.names()
    if stage.source is None or stage.source in names or not findings.sound(where):
        return
    if any(map(is_stand_in, names)):
        findings.doubt(where)  # it may be the name that could not be used
        return
    others = [name for name in dict.fromkeys(names) if name != stage.name]
    what = f"no stage is called {stage.source!r}"
    findings.problems.append(Problem(where, what, ", ".join(others) or "null", nearest(stage.source, others)))


def _no_circle(graph: StageGraph, findings: Findings) -> None:
    """Every circle of sources is one problem, of its first stage as declared."""
    sources = {stage.name: stage.source for stage in graph.stages}
    seen: set[str] = set()
    for stage in graph.stages:
        trail: list[str] = []
        name: str | None = stage.name
        while name in sources and name not in seen:
            seen.add(name)
            trail.append(name)
            name = sources[name]
        if name not in trail:
            continue
        circle = trail[trail.index(name) :]
        first = min(circle, key=graph.names().index)
        turned = circle[circle.index(first) :] + circle[: circle.index(first)]
        what = f"the sources run in a circle: {' -> '.join([*turned, first])}"
        findings.add(_source_path(graph[first]), what, "a stage without a source as base")
        for other in turned[1:]:
            findings.doubt(_source_path(graph[other]))


def _one_base(graph: StageGraph, findings: Findings) -> None:
    """Only one stage has no source; of several, one without a view is taken to be the base."""
    bases = [stage for stage in graph.stages if stage.source is None and findings.sound(_source_path(stage))]
    bases.sort(key=lambda stage: stage.view is not None)
    for stage in bases[1:]:
        what = f"is missing: {bases[0].name!r} has no source either, and a graph has one base stage"
        others = [name for name in graph.names() if name != stage.name]
        findings.add(_source_path(stage), what, ", ".join(others))


def _view(graph: StageGraph, stage: Stage, findings: Findings) -> None:
    """There is a view where there is a source, and it can be applied to the stage's clip."""
    where, source_known = f"{stage_path(stage)}.view", findings.sound(_source_path(stage))
    if not findings.sound(where):
        return
    if source_known and stage.source is None and stage.view is not None:
        findings.add(where, "a stage without a source has no view", "null, or a source")
    elif source_known and stage.source is not None and stage.view is None:
        findings.add(where, f"is missing: the stage has the source {stage.source!r}", 'use("NearestView", ...)')
    elif (view := _edge(stage, findings)) is not None and findings.sound(f"{stage_path(stage)}.clip"):
        made = findings.attempt(where, partial(view.clip, stage.clip))
        if made is not None and source_known and stage.source is not None:
            _leads_to(graph[stage.source], stage, view, made, findings)


def _leads_to(source: Stage, stage: Stage, view: View, made: Clip, findings: Findings) -> None:
    """What the view makes of the stage's clip is the source's clip, frame for frame."""
    where = f"{stage_path(stage)}.view"
    if not findings.sound(f"{stage_path(source)}.clip"):
        return
    if made != source.clip:
        what = f"makes {made} of the stage's {stage.clip}, but source {source.name!r} is {source.clip}"
        findings.add(where, what, str(source.clip))
    elif made.frames * view.time != stage.clip.frames:
        what = "leaves out frames of the stage's clip, so its source cannot lead to them"
        findings.add(where, what, "a view of all frames")


def _window(stage: Stage, findings: Findings) -> None:
    """The window is a part of the clip, and of whole frames of the source."""
    where = f"{stage_path(stage)}.window"
    if stage.window is None or not findings.sound(where, f"{stage_path(stage)}.clip"):
        return
    if stage.window > stage.clip.frames:
        findings.add(where, f"{stage.window} frames do not fit the stage's {stage.clip}", f"1 to {stage.clip.frames}")
    elif (view := _edge(stage, findings)) is not None and stage.window % view.time:
        what = f"{stage.window} frames are no whole number of source frames"
        findings.add(where, what, f"a multiple of {view.time}")


def _data(graph: StageGraph, stage: Stage, findings: Findings) -> None:
    """The data leads to the stage's clip, by whichever way one takes."""
    where, component = f"{stage_path(stage)}.data_view", stage.data_view
    if (component is not None or not graph.consumers(stage.name)) and findings.sound(
        where, f"{stage_path(stage)}.view", f"{stage_path(stage)}.clip", "graph.clip"
    ):
        if component is None:
            made: Clip | None = graph.clip
            what = f"is missing: graph.clip is {graph.clip}, but the stage's clip is {stage.clip}"
        else:
            made = findings.attempt(where, lambda: build_view(component, where).clip(graph.clip))
            what = f"makes {made} of graph.clip, which is {graph.clip}, but the stage's clip is {stage.clip}"
        if made not in (None, stage.clip):
            findings.add(where, what, f"a view that makes {stage.clip}")
    _ways_agree(graph, stage, findings)


def _ways_agree(graph: StageGraph, stage: Stage, findings: Findings) -> None:
    """A stage's real videos are the same by its own view of the data and through each stage it is the source of."""
    where, consumers = f"{stage_path(stage)}.data_view", graph.consumers(stage.name)
    relied = [f"{stage_path(each)}.{part}" for each in _above(graph, stage) for part in ("clip", "view", "data_view")]
    ways = len(consumers) + (stage.data_view is not None)
    if not consumers or ways < 2 or not findings.sound(where, f"{stage_path(stage)}.clip", "graph.clip", *relied):
        return
    videos = findings.attempt(where, partial(_videos, graph, stage))
    if videos is not None and not all(torch.allclose(videos[0], other, atol=1e-5) for other in videos[1:]):
        own = "" if stage.data_view is None else "it and "
        names = ", ".join(consumer.name for consumer in consumers)
        what = f"{own}the view{'s' * (len(consumers) > 1)} of {names} make different videos of the same data"
        findings.add(where, what, "views that agree")


def _above(graph: StageGraph, stage: Stage) -> list[Stage]:
    """Every stage between ``stage`` and the data."""
    consumers = graph.consumers(stage.name)
    return consumers + [above for consumer in consumers for above in _above(graph, consumer)]


def _videos(graph: StageGraph, stage: Stage) -> list[Tensor]:
    """The stage's clip of one video of noise, by its own view of the data and through each of its consumers."""
    routes: list[list[View | None]] = []
    if stage.data_view is not None:
        routes.append([build_view(stage.data_view)])
    routes += [
        [*build_data_route(graph, consumer), build_stage_view(consumer)] for consumer in graph.consumers(stage.name)
    ]
    videos = []
    for route in routes:
        video = noise(graph.clip)
        for view in route:
            video = video if view is None else view(video)
        videos.append(video)
    return videos


def _edge(stage: Stage, findings: Findings) -> View | None:
    """The stage's view as a module; None where there is none, or none that could be built."""
    where = f"{stage_path(stage)}.view"
    return findings.attempt(where, partial(build_stage_view, stage)) if findings.sound(where) else None


def _source_path(stage: Stage) -> str:
    return f"{stage_path(stage)}.source"
