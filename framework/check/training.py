"""What a training asks for: the fields that a stage has of its own, and those that cannot go together."""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import partial

import attrs

from framework.build import stage_path
from framework.check.findings import Findings
from framework.experiment import Experiment, Training
from framework.graph import Stage
from registry import FEATURES, METRICS, InputError
from registry.convert import structure, unstructure


def check_training(experiment: Experiment, findings: Findings) -> None:
    """The experiment's training, and what of it each stage has otherwise."""
    if findings.sound("training"):
        _check(experiment.training, [field.name for field in attrs.fields(Training)], "training", findings)
    for stage in experiment.graph.stages:
        where = f"{stage_path(stage)}.training"
        if stage.training and findings.sound(where):
            try:
                training = structure({**unstructure(experiment.training), **stage.training}, Training, where)
            except InputError as error:
                findings.take(error)
            else:
                _check(training, stage.training, where, findings)
        if findings.sound("training", where):
            _check_best(experiment, stage, _measured(experiment, stage, findings), findings)
        if stage.source is None and stage.training.get("prefix_bank") is not None and findings.sound(where):
            findings.add(f"{where}.prefix_bank", "a base stage has no source to keep videos of", "null")
    if experiment.training.prefix_bank is not None and findings.sound("training"):
        _check_bank(experiment, findings)


def _check_bank(experiment: Experiment, findings: Findings) -> None:
    """That some stage has a source whose videos could be kept; a base stage goes without, whatever is said for all."""
    stages = experiment.graph.stages
    if stages and not any(stage.source or not findings.sound(f"{stage_path(stage)}.source") for stage in stages):
        findings.add("training.prefix_bank", "no stage has a source to keep videos of", "null")


def _measured(experiment: Experiment, stage: Stage, findings: Findings) -> list[str] | None:
    """The names of what is measured while the stage trains; refuses what its videos can never be measured by.

    None where a metric cannot be made; what is wrong with its name or options is said elsewhere.
    """
    training, frames = experiment.training_of(stage), stage.clip.frames
    if any(METRICS.check(component, "") for component in training.evaluate):
        return None
    source = next((each.clip.frames for each in experiment.graph.stages if each.name == stage.source), frames)
    given = {
        "classes": experiment.graph.classes,
        "window": stage.training_clip.frames,
        "time": max(1, frames // source),
    }
    names: list[str] | None = []
    for number, component in enumerate(training.evaluate):
        where = f"{stage_path(stage)}.training.evaluate[{number}]"
        metric = findings.attempt(where, partial(METRICS.build, component, where, **given))
        if metric is None:
            names = None
            continue
        if metric.needs_low and stage.source is None:
            findings.add(where, f"{component.type} compares videos with what they were made of; this is a base stage")
        elif frames < metric.min_frames:
            what = f"{component.type} needs {metric.min_frames} frames, the videos have {frames}"
            findings.add(where, what, "longer clips, or not in this stage")
        names = None if names is None else [*names, *metric.names_in(frames)]
    return names


def _check_best(experiment: Experiment, stage: Stage, measured: list[str] | None, findings: Findings) -> None:
    """That the metric whose best checkpoint is kept is one that the stage will have."""
    training = experiment.training_of(stage)
    name = (training.keep_best or "").partition(":")[2]
    if not name or measured is None:
        return
    names = ["loss_D", "loss_G", "grad_norm_D", "grad_norm_G", "lr_generator", "lr_discriminator"]
    names += [f"{discriminator}/{side}" for discriminator in stage.discriminators for side in ("real", "fake")]
    names += ["r1"] * (training.r1 > 0) + ["skipped"] * (training.on_divergence == "skip")
    names += measured
    if name not in names:
        own = f"{stage_path(stage)}.training" if "keep_best" in stage.training else "training"
        findings.take(InputError.unknown(f"{own}.keep_best", f"metric of {stage.name}", name, names))


def _check_evaluation(training: Training, said: Collection[str], where: str, findings: Findings) -> None:
    """Metrics and their network by name, and that their figures meet a line of metrics and a checkpoint."""
    if {"evaluate", "evaluate_features"}.isdisjoint(said) and not training.evaluate:
        return
    for number, metric in enumerate(training.evaluate):
        problems = METRICS.check(metric, f"{where}.evaluate[{number}]")
        if (
            not problems
            and getattr(METRICS.find(metric.type), "layer", None) is not None
            and training.evaluate_features is None
        ):
            what = f"is missing: {metric.type} compares features"
            findings.add(f"{where}.evaluate_features", what, ", ".join(FEATURES.names()))
        for problem in problems:
            findings.take(InputError(problem))
    if training.evaluate_features is not None:
        for problem in FEATURES.check(training.evaluate_features, f"{where}.evaluate_features"):
            findings.take(InputError(problem))
    for other in ("log_every", "checkpoint_every"):
        if training.evaluate and training.evaluate_every % getattr(training, other):
            what = f"{training.evaluate_every} is no multiple of {other}={getattr(training, other)}"
            findings.add(f"{where}.evaluate_every", what, "whole multiples of both log_every and checkpoint_every")


def _check(training: Training, said: Collection[str], where: str, findings: Findings) -> None:
    """Look at the fields that are ``said`` at ``where``, along with those that hold there anyway."""
    best = training.keep_best if "keep_best" in said else None
    if best is not None and not re.fullmatch(r"(min|max):\S+", best):
        what = f"{best!r} does not say which is best of what"
        findings.add(f"{where}.keep_best", what, '"min:NAME" or "max:NAME" with a name of metrics.jsonl')
    _check_evaluation(training, said, where, findings)
    if not {"r1", "precision"}.isdisjoint(said) and training.r1 and training.precision == "float16":
        what = "the penalty's gradients of gradients vanish in float16"
        findings.add(f"{where}.r1", what, 'precision "bfloat16" or "float32", or r1=0')
    if not {"r1", "compile"}.isdisjoint(said) and training.r1 and "discriminators" in training.compile:
        what = "torch.compile makes no gradients of gradients, which the penalty needs"
        findings.add(f"{where}.r1", what, 'compile=["generator"], or r1=0')
    if not {"prefix", "prefix_bank"}.isdisjoint(said) and training.prefix == "iteration" and training.prefix_bank:
        what = "a bank's windows are read anew for each update at no cost; there is nothing to draw but once"
        findings.add(f"{where}.prefix", what, 'prefix="update", or prefix_bank=null')
