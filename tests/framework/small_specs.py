"""The smallest specs that pass the check, and how to spoil them, for the tests of specs and their errors."""

from __future__ import annotations

from typing import Any

import pytest

from framework import Clip, Experiment, Stage, StageGraph, Training, use
from framework.check import check
from registry import InputError
from registry.convert import unstructure

GENERATOR = {"channels": 1, "multipliers": [1], "noise_dim": 2, "embedding_dim": 2}
DISCRIMINATOR = {"channels": 1, "multipliers": [1]}


def base_stage(**changes: Any) -> Stage:
    """4x4/4 @2."""
    fields: dict[str, Any] = {
        "clip": Clip(4, 4, 4, stride=2),
        "generator": use("DVDGenerator", **GENERATOR),
        "discriminators": {
            "spatial": use("SpatialDiscriminator", **DISCRIMINATOR),
            "temporal": use("TemporalDiscriminator", **DISCRIMINATOR),
        },
    }
    return Stage("base", **fields | changes)


def upsampling_stage(name: str = "full", source: str | None = "base", **changes: Any) -> Stage:
    """8x8/8 @1, in windows of 4 frames."""
    fields: dict[str, Any] = {
        "clip": Clip(8, 8, 8),
        "source": source,
        "view": use("NearestView", time=2, space=2),
        "window": 4,
        "generator": use("UpsamplingGenerator", **GENERATOR),
        "discriminators": {
            "spatial": use("SpatialDiscriminator", **DISCRIMINATOR),
            "matching": use("MatchingDiscriminator", **DISCRIMINATOR),
        },
    }
    return Stage(name, **fields | changes)


def small(*stages: Stage, clip: Clip | None = None, classes: int | None = 4, **changes: Any) -> Experiment:
    """A base and one stage upon it, or ``stages``."""
    fields: dict[str, Any] = {
        "name": "small",
        "data": use("SyntheticClips", clips=8, frames=8, size=8),
        "graph": StageGraph(
            clip=clip or Clip(8, 8, 8), classes=classes, stages=stages or [base_stage(), upsampling_stage()]
        ),
        "training": Training(batch_size=2, iterations=2, standing_passes=1, standing_batch=1, workers=0),
    }
    return Experiment(**fields | changes)


def data_of(experiment: Experiment, changes: dict[str, Any] | None = None) -> dict[str, Any]:
    """The spec's plain data with the values at some paths changed: ``{"graph.stages.1.window": 3}``."""
    data: dict[str, Any] = unstructure(experiment)
    for path, value in (changes or {}).items():
        *parts, last = path.split(".")
        holder: Any = data
        for part in parts:
            holder = holder[int(part) if isinstance(holder, list) else part]
        holder[int(last) if isinstance(holder, list) else last] = value
    return data


def problems_of(spec: Experiment | dict[str, Any]) -> list[str]:
    """The lines of what is wrong with a spec."""
    with pytest.raises(InputError) as caught:
        check(spec)
    return [str(problem) for problem in caught.value.problems]
