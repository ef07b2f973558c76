"""Specs to measure, at full or at narrow width."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from framework.experiment import Experiment
from framework.spec_file import load_spec
from registry import DISCRIMINATORS, GENERATORS, Component
from registry.registry import Registry

ROOT = Path(__file__).resolve().parents[2]


def load(spec: str, divide: int = 1, changes: tuple[str, ...] = ()) -> Experiment:
    """The experiment ``spec`` of the folder ``experiments``, with ``changes``.

    Args:
        spec: its name.
        divide: every network's base number of channels is divided by this.
        changes: as ``--set`` takes them.
    """
    experiment, _ = load_spec(ROOT / "experiments" / f"{spec}.py", changes)
    if divide == 1:
        return experiment
    stages = tuple(
        attrs.evolve(
            stage,
            generator=_narrow(GENERATORS, stage.generator, divide),
            discriminators={name: _narrow(DISCRIMINATORS, each, divide) for name, each in stage.discriminators.items()},
        )
        for stage in experiment.graph.stages
    )
    return attrs.evolve(experiment, graph=attrs.evolve(experiment.graph, stages=stages))


def named(spec: str, stage: str, divide: int = 1) -> str:
    """A stage of a spec, as tables name it."""
    return f"`{spec}` {stage}" + (f", channels / {divide}" if divide > 1 else "")


def _narrow(registry: Registry, component: Component, divide: int) -> Component:
    channels = {**_defaults(registry, component), **component.options}["channels"]
    return attrs.evolve(component, options={**component.options, "channels": max(1, channels // divide)})


def _defaults(registry: Registry, component: Component) -> Mapping[str, Any]:
    return {name: option.default for name, option in registry.options(component.type).items()}
