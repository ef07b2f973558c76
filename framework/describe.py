"""What an experiment would train, in words: clips, windows, parameters, and what trains on what."""

from __future__ import annotations

import json
from typing import Any

import torch

from framework.build import build_discriminators, build_generator, build_stage_view
from framework.experiment import Experiment
from framework.graph import Stage
from registry.convert import unstructure


def describe(experiment: Experiment) -> str:
    """The experiment as text, a paragraph per stage in the order of training."""
    graph, training = experiment.graph, experiment.training
    classes = "unconditional" if graph.classes is None else f"{graph.classes} classes"
    lines = [
        f"{experiment.name}: {len(graph.stages)} stage{'s' * (len(graph.stages) != 1)}, {graph.clip}, {classes}",
        f"data: {experiment.data}",
        f"training: batch {training.batch_size}, {training.discriminator_steps} discriminator updates per iteration",
    ]
    for number, stage in enumerate(graph.order(), 1):
        facts = describe_stage(experiment, stage)
        lines += ["", f"{number}. {stage.name}: {facts['iterations']} iterations of {facts['updates']} updates"]
        rows = [("clip", _path(facts["clip_in"], str(stage.clip)))]
        rows.append(("window", _path(facts["window_in"], facts["window_out"])))
        rows += [("views", " then ".join(facts["data_views"]) or "the data as it is")]
        rows += [
            (name, f"{count:,} parameters, {facts['networks'][name]}") for name, count in facts["parameters"].items()
        ]
        rows += [("trains on", facts["trains_on"])]
        width = max(len(name) for name, _ in rows)
        lines += [f"   {name:<{width}}  {text}" for name, text in rows]
    return "\n".join(lines)


def describe_json(experiment: Experiment) -> str:
    """The same as JSON."""
    stages = [describe_stage(experiment, stage) for stage in experiment.graph.order()]
    return json.dumps({"name": experiment.name, "clip": unstructure(experiment.graph.clip), "stages": stages}, indent=2)


def describe_stage(experiment: Experiment, stage: Stage) -> dict[str, Any]:
    """The facts of one stage; its networks are built on the meta device and hold no data."""
    graph, training = experiment.graph, experiment.training_of(stage)
    with torch.device("meta"):
        networks = {"generator": build_generator(graph, stage), **build_discriminators(graph, stage)}
    view = build_stage_view(stage)
    return {
        "name": stage.name,
        "source": stage.source,
        "clip_in": None if stage.source is None else str(graph[stage.source].clip),
        "clip_out": str(stage.clip),
        "window_in": None if view is None else str(view.clip(stage.training_clip)),
        "window_out": str(stage.training_clip),
        "data_views": [str(component) for component in graph.data_route(stage.name)],
        "parameters": {name: sum(p.numel() for p in network.parameters()) for name, network in networks.items()},
        "networks": {"generator": str(stage.generator), **{n: str(c) for n, c in stage.discriminators.items()}},
        "iterations": training.iterations,
        "updates": training.discriminator_steps + 1,
        "batch_size": training.batch_size,
        "joint": stage.joint,
        "trains_on": _trains_on(stage),
    }


def _trains_on(stage: Stage) -> str:
    if stage.source is None:
        return "real clips against G(z)"
    if stage.joint:
        return f"jointly with {stage.source}, end to end (declared; not built yet)"
    return f"real (x, {stage.view}(x)) against (G(z, x_l), x_l) with x_l from the frozen {stage.source}"


def _path(before: str | None, after: str) -> str:
    return f"noise -> {after}" if before is None else f"{before} -> {after}"
