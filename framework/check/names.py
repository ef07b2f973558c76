"""The names in a spec: the experiment's, the stages', and those of components with their options."""

from __future__ import annotations

import re

from torch import nn

from framework.build import stage_path
from framework.check.findings import Findings
from framework.experiment import Experiment
from framework.graph import OWN_FOLDERS, Stage
from registry import DATASETS, DISCRIMINATORS, GENERATORS, LOSSES, VIEWS, Component, Registry

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_NAME_RULE = "letters, digits, '_' and '-', a letter first"
_TAKEN = set(dir(nn.ModuleDict()))
"""No discriminator can have these names: torch keeps modules by name beside its own attributes."""


def check_names(experiment: Experiment, findings: Findings) -> None:
    """Every name and every option of every component."""
    check_name(experiment.name, findings)
    check_component(findings, DATASETS, experiment.data, "data")
    for stage in experiment.graph.stages:
        where = stage_path(stage)
        if findings.sound(f"{where}.name"):
            if not _NAME.fullmatch(stage.name):
                findings.add(f"{where}.name", f"{stage.name!r} cannot name a folder", _NAME_RULE)
            elif stage.name in OWN_FOLDERS:
                findings.add(f"{where}.name", f"a run has a folder {stage.name!r} of its own", "another name")
        _components(findings, stage, where)
    names = experiment.graph.names()
    for name in dict.fromkeys(name for name in names if names.count(name) > 1):
        where = stage_path(experiment.graph[name])
        findings.add(f"{where}.name", f"{names.count(name)} stages have this name", "a name for each")
        findings.doubt(where)


def check_name(name: str, findings: Findings) -> None:
    """The experiment's own name, which is its folder's as well."""
    if findings.sound("name") and not _NAME.fullmatch(name):
        findings.add("name", f"{name!r} cannot name a folder", _NAME_RULE)


def _components(findings: Findings, stage: Stage, where: str) -> None:
    check_component(findings, GENERATORS, stage.generator, f"{where}.generator")
    check_component(findings, LOSSES, stage.loss, f"{where}.loss")
    for name, component in stage.discriminators.items():
        check_component(findings, DISCRIMINATORS, component, f"{where}.discriminators.{name}")
        if not name.isidentifier() or name in _TAKEN:
            what = f"{name!r} cannot name a discriminator"
            findings.add(f"{where}.discriminators.{name}", what, "a Python identifier that torch's modules do not use")
    if stage.view is not None:
        check_component(findings, VIEWS, stage.view, f"{where}.view")
    if stage.data_view is not None:
        check_component(findings, VIEWS, stage.data_view, f"{where}.data_view")


def check_component(findings: Findings, kind: Registry, component: Component, where: str) -> None:
    """The name of a component and those of its options."""
    if findings.sound(where):
        findings.problems += kind.check(component, where)
