"""What a training asks for: the fields that a stage has of its own, and those that cannot go together."""

from __future__ import annotations

import re

from framework.build import stage_path
from framework.check.findings import Findings
from framework.experiment import Experiment, Training
from registry import InputError
from registry.convert import structure, unstructure


def check_training(experiment: Experiment, findings: Findings) -> None:
    """The experiment's training, and what of it each stage has otherwise."""
    if findings.sound("training"):
        _check(experiment.training, "training", findings)
    for stage in experiment.graph.stages:
        where = f"{stage_path(stage)}.training"
        if stage.training and findings.sound(where):
            try:
                training = structure({**unstructure(Training()), **stage.training}, Training, where)
            except InputError as error:
                findings.take(error)
            else:
                _check(training, where, findings)


def _check(training: Training, where: str, findings: Findings) -> None:
    if training.keep_best is not None and not re.fullmatch(r"(min|max):\S+", training.keep_best):
        what = f"{training.keep_best!r} does not say which is best of what"
        findings.add(f"{where}.keep_best", what, '"min:NAME" or "max:NAME" with a name of metrics.jsonl')
    if training.r1 and training.precision == "float16":
        what = "the penalty's gradients of gradients vanish in float16"
        findings.add(f"{where}.r1", what, 'precision "bfloat16" or "float32", or r1=0')
