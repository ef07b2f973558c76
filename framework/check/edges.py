"""The shape of the graph: sources, order, views from each stage to its source, windows, and the data."""

from __future__ import annotations

import torch

from components.clip import Clip
from components.views import View
from framework.build import build_view, stage_path
from framework.check.findings import Findings
from framework.experiment import Experiment
from framework.graph import Stage, StageGraph
from registry import InputError, Problem
from registry.errors import nearest


def check_edges(experiment: Experiment, findings: Findings) -> None:
    """Everything about the graph that needs no network."""
    graph = experiment.graph
    if not graph.stages:
        findings.add("graph.stages", "there is no stage", "at least one")
        return
    if not findings.sound(*(f"{stage_path(stage)}.name" for stage in graph.stages)):
        return
    connected = _sources(graph, findings)
    for stage in graph.stages:
        _view(graph, stage, findings)
        _window(stage, findings)
    if connected:
        for stage in graph.stages:
            _data(graph, stage, findings)


def _sources(graph: StageGraph, findings: Findings) -> bool:
    """Whether every stage leads back to one base stage."""
    before = len(findings.problems)
    names = graph.names()
    for stage in graph.stages:
        where = f"{stage_path(stage)}.source"
        if stage.source is None or not findings.sound(where):
            continue
        if stage.source not in names:
            others = [name for name in names if name != stage.name]
            findings.problems.append(
                Problem(where, f"no stage is called {stage.source!r}", ", ".join(others), nearest(stage.source, others))
            )
        elif cycle := _cycle(graph, stage):
            findings.add(
                where, f"the sources run in a circle: {' -> '.join(cycle)}", "a stage without a source as base"
            )
    bases = [stage.name for stage in graph.stages if stage.source is None]
    if len(bases) > 1:
        findings.add("graph.stages", f"{len(bases)} stages have no source: {', '.join(bases)}", "one base stage")
    return len(findings.problems) == before


def _cycle(graph: StageGraph, stage: Stage) -> list[str]:
    """The circle of sources that ``stage`` lies on, as seen from its first member; empty if there is none."""
    sources = {other.name: other.source for other in graph.stages}
    trail = [stage.name]
    while (source := sources.get(trail[-1])) is not None and source not in trail:
        trail.append(source)
    on_circle = source == stage.name
    first = on_circle and graph.names().index(stage.name) == min(map(graph.names().index, trail))
    return [*trail, stage.name] if first else []


def _view(graph: StageGraph, stage: Stage, findings: Findings) -> None:
    """The edge leads to the source's clip, frame for frame."""
    where = f"{stage_path(stage)}.view"
    if not findings.sound(where):
        return
    if stage.source is None:
        if stage.view is not None:
            findings.add(where, "a stage without a source has no view", "null, or a source")
        return
    if stage.view is None:
        findings.add(where, f"is missing: the stage has the source {stage.source!r}", 'use("NearestView", ...)')
        return
    if stage.source not in graph.names() or not findings.sound(f"{stage_path(stage)}.clip"):
        return
    source = graph[stage.source]
    made = _made(build_view(stage.view, where), stage.clip, where, findings)
    if made is None or not findings.sound(f"{stage_path(source)}.clip"):
        return
    if made != source.clip:
        findings.add(
            where,
            f"makes {made} of the stage's {stage.clip}, but source {source.name!r} is {source.clip}",
            str(source.clip),
        )
    elif made.frames * build_view(stage.view).time != stage.clip.frames:
        findings.add(
            where, "leaves out frames of the stage's clip, so its source cannot lead to them", "a view of all frames"
        )


def _window(stage: Stage, findings: Findings) -> None:
    where = f"{stage_path(stage)}.window"
    if stage.window is None or not findings.sound(where, f"{stage_path(stage)}.clip"):
        return
    if stage.window > stage.clip.frames:
        findings.add(where, f"{stage.window} frames do not fit the stage's {stage.clip}", f"1 to {stage.clip.frames}")
    elif stage.view is not None and findings.sound(f"{stage_path(stage)}.view"):
        time = build_view(stage.view).time
        if stage.window % time:
            findings.add(where, f"{stage.window} frames are no whole number of source frames", f"a multiple of {time}")


def _data(graph: StageGraph, stage: Stage, findings: Findings) -> None:
    """The data leads to the stage's clip, by whichever way one takes."""
    where = f"{stage_path(stage)}.data_view"
    paths = [f"{stage_path(each)}.{part}" for each in graph.stages for part in ("clip", "view", "data_view")]
    if not findings.sound("graph.clip", *paths):
        return
    views = [[build_view(component, where) for component in route] for route in graph.data_routes(stage.name)]
    for route in views:
        made: Clip | None = graph.clip
        for view in route:
            made = _made(view, made, where, findings) if made is not None else None
        if made is not None and made != stage.clip:
            what = f"the stage's clip is {stage.clip}, but the data's {graph.clip} gives it {made}"
            findings.add(where, what, f"a data_view that makes {stage.clip}")
            return
    if len(views) > 1 and findings.sound(where) and not _same_pixels(graph.clip, views):
        consumers = ", ".join(consumer.name for consumer in graph.consumers(stage.name))
        findings.add(where, f"the views of {consumers} make different videos of the same data", "views that agree")


def _made(view: View, clip: Clip, where: str, findings: Findings) -> Clip | None:
    try:
        return view.clip(clip)
    except InputError as error:
        findings.take(error.under(where))
        return None


def _same_pixels(clip: Clip, routes: list[list[View]]) -> bool:
    """Whether every route makes the same video of one video of noise."""
    noise = torch.rand(clip.shape(1), generator=torch.Generator().manual_seed(0)) * 2 - 1
    results = []
    for route in routes:
        video = noise
        for view in route:
            video = view(video)
        results.append(video)
    return all(torch.allclose(results[0], other, atol=1e-5) for other in results[1:])
