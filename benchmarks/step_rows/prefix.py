"""What the frozen stages before it add to the step of an upsampling stage."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from prefix_bank import prefixes
from step_rows.building import build
from step_rows.counting import count
from step_rows.line import Bar, Line, Settings, clear, duration, in_turns
from step_rows.options import fastest
from step_rows.places import load, named

BAR = Bar(0.10, least=False, unit="%")
ON_CPU = (
    ("quickstart", "full", 1, 16),
    ("kinetics_2stage", "full", 16, 1),
    ("bdd_3stage", "mid", 16, 2),
    ("bdd_3stage", "full", 16, 1),
)
ON_GPU = (
    ("kinetics_2stage", "full", 1, 8),
    ("bdd_3stage", "mid", 1, 8),
    ("bdd_3stage", "full", 1, 8),
)
"""Spec, stage, divisor of the channels, batch."""
COUNTED = (
    ("quickstart", "full"),
    ("kinetics_2stage", "full"),
    ("bdd_3stage", "mid"),
    ("bdd_3stage", "full"),
)


def prefix(settings: Settings) -> Iterator[Line]:
    """The step with the frozen stages over the step with their videos given, less one."""
    for spec, stage, divide, batch in ON_CPU[:1] if settings.quick else ON_GPU if settings.cuda else ON_CPU:
        yield from _timed(settings, spec, stage, divide, 2 if settings.quick else batch)


def prefix_operations(settings: Settings) -> Iterator[Line]:
    """The same of operations at full width: what there is to gain, on any device."""
    for spec, stage in COUNTED[: 1 if settings.quick else None]:
        found = count(load(spec), stage)
        yield Line(
            work=f"{named(spec, stage)}: operations, mean over windows",
            value=found.prefix / found.own,
            bar=BAR,
            unit="%",
            detail=f"{found.own / 1e9:.3g} GFLOP a clip without, {(found.own + found.prefix) / 1e9:.3g} with",
        )


def _timed(settings: Settings, spec: str, stage: str, divide: int, batch: int) -> Iterator[Line]:
    experiment = load(spec, divide)
    training = fastest(experiment.training_of(experiment.graph[stage]), settings, batch)
    step = build(experiment, stage, training, batch, settings.device)
    with tempfile.TemporaryDirectory(prefix="bank_") as folder:
        ways = prefixes(experiment, step.model, Path(folder), 2 * batch, batch)

        def run(way: str) -> None:
            step.model.prefix = ways[way]
            step()

        # The bank on a CPU where the prefix is cheap to tell from the rest; it costs next to nothing anywhere.
        for way in ("live", "bank") if settings.cuda or spec == "quickstart" else ("live",):
            run(way)
            ratio = in_turns(settings, lambda: run("given"), lambda way=way: run(way))  # type: ignore[misc]
            yield Line(
                work=f"{named(spec, stage, divide)}, batch {batch}" + (", from a bank" if way == "bank" else ""),
                value=ratio.value - 1,
                spread=(ratio.low - 1, ratio.high - 1),
                bar=BAR,
                unit="%",
                detail=f"{duration(ratio.ours)} without, {duration(ratio.theirs)} with",
            )
    clear(settings.device)
