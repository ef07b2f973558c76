"""What the frozen stages before it add to the step of an upsampling stage."""

from __future__ import annotations

from collections.abc import Iterator

from step_rows.building import build
from step_rows.counting import count, given, low_windows
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
        yield _timed(settings, spec, stage, divide, 2 if settings.quick else batch)


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


def _timed(settings: Settings, spec: str, stage: str, divide: int, batch: int) -> Line:
    experiment = load(spec, divide)
    training = fastest(experiment.training_of(experiment.graph[stage]), settings, batch)
    step = build(experiment, stage, training, batch, settings.device)
    sources, low = step.model.sources, low_windows(step, batch, settings.device)
    assert sources is not None  # noqa: S101  # an upsampling stage

    def without() -> None:
        with given(sources, low):
            step()

    for _ in range(2 if settings.cuda else 0):  # the second compiles again where shapes of statistics have settled
        step()
    ratio = in_turns(settings, without, step)
    clear(settings.device)
    return Line(
        work=f"{named(spec, stage, divide)}, batch {batch}",
        value=ratio.value - 1,
        spread=(ratio.low - 1, ratio.high - 1),
        bar=BAR,
        unit="%",
        detail=f"{duration(ratio.ours)} without, {duration(ratio.theirs)} with",
    )
