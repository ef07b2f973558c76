"""Two cascades side by side: what the second costs in units of the first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import attrs

from framework.cost.summary import DAY, Setting, StageCost, clips_of, training_of
from framework.cost.table import Row, table
from framework.cost.units import COUNT, MEMORY, STEP, TRAINING, WORK, Unit, unit_of_least
from framework.experiment import Experiment


@attrs.frozen(kw_only=True)
class Comparison:
    """A figure of two cascades."""

    key: str
    """Its name for programs, and with it the unit that they are told it in."""
    told_in: Unit
    label: str
    """Its name for people, with ``{unit}`` where the unit goes."""
    units: Sequence[Unit]
    """Of which people are told it in one."""
    first: float
    """In the base unit."""
    second: float

    @property
    def ratio(self) -> float:
        """The second's in units of the first's."""
        return self.second / self.first

    @property
    def row(self) -> Row:
        """For people. The unit is by the smaller of the two, so that neither is told as next to nothing."""
        unit = unit_of_least(self.units, [self.first, self.second])
        return self.label.format(unit=unit.name), [unit.show(self.first), unit.show(self.second), f"{self.ratio:.2f}"]

    @property
    def data(self) -> dict[str, float]:
        """For programs."""
        return {"first": self.first / self.told_in.size, "second": self.second / self.told_in.size, "ratio": self.ratio}


def equal_batch(experiment: Experiment, setting: Setting) -> Setting:
    """The setting with a batch that both cascades are to have: the given one, or that of the first's first stage."""
    stage = experiment.graph.order()[0]
    return attrs.evolve(setting, batch=clips_of(stage, training_of(experiment, stage, setting), setting))


def compare(first: Sequence[StageCost], second: Sequence[StageCost]) -> list[Comparison]:
    """The figures of two cascades that training and generating cost by."""
    return [
        Comparison(key=key, told_in=told_in, label=label, units=units, first=figure(first), second=figure(second))
        for key, label, told_in, units, figure in _FIGURES
    ]


def comparison_text(
    experiments: tuple[Experiment, Experiment], costs: tuple[Sequence[StageCost], Sequence[StageCost]]
) -> str:
    """The comparison as a table, with each stage's memory by itself, and how the outputs differ."""
    rows = [each.row for each in compare(*costs)]
    unit = unit_of_least(MEMORY, [stage.memory.total for stages in costs for stage in stages])
    rows += [("", []), (f"peak memory of each stage, {unit.name}", [])]
    for side, stages in enumerate(costs):
        for stage in stages:
            cells = ["", ""]
            cells[side] = unit.show(stage.memory.total)
            rows.append((f"  {experiments[side].name}: {stage.name}", [*cells, ""]))
    header = ["", *(experiment.name for experiment in experiments), "ratio"]
    clips = sorted({stage.clips for stages in costs for stage in stages})
    lines = [f"{experiments[1].name} against {experiments[0].name}, {clips[0]} clips in an update on each GPU"]
    return "\n".join([*lines, difference(*experiments), "", *table(header, rows)])


def comparison_data(
    experiments: tuple[Experiment, Experiment], costs: tuple[Sequence[StageCost], Sequence[StageCost]]
) -> dict[str, Any]:
    """The same as plain data."""
    return {
        "specs": [experiment.name for experiment in experiments],
        "difference": difference(*experiments),
        "figures": {each.key: each.data for each in compare(*costs)},
    }


def difference(first: Experiment, second: Experiment) -> str:
    """In one line, where the outputs of two cascades differ."""
    one, other = (str(experiment.graph.leaves()[-1].clip) for experiment in (first, second))
    differences = [] if one == other else [f"{one} against {other}"]
    if first.graph.classes != second.graph.classes:
        classes = (experiment.graph.classes or "no" for experiment in (first, second))
        differences.append("{} classes against {} classes".format(*classes))
    return f"outputs differ: {', '.join(differences)}" if differences else f"outputs are alike: {one}"


def _parameters(cost: StageCost) -> int:
    return sum(cost.parameters.values())


def _of_clips(cost: StageCost) -> int:
    return cost.memory.bytes["activations"] + cost.memory.bytes["temporaries"]


_GB, _TFLOP, _DAYS, _MILLIONS, _THOUSANDS = MEMORY[0], WORK[0], TRAINING[0], *COUNT
_MS = STEP[1]
_FIGURES: Sequence[tuple[str, str, Unit, Sequence[Unit], Callable[[Sequence[StageCost]], float]]] = (
    (
        "peak memory of the costliest stage, GB",
        "peak memory of the costliest stage, {unit}",
        _GB,
        MEMORY,
        lambda c: max(each.memory.total for each in c),
    ),
    (
        "of it activations and temporaries",
        "  of it activations, temporaries, {unit}",
        _GB,
        MEMORY,
        lambda c: _of_clips(max(c, key=lambda stage: stage.memory.total)),
    ),
    (
        "parameters of the largest stage, millions",
        "parameters of the largest stage, {unit}",
        _MILLIONS,
        COUNT,
        lambda c: max(map(_parameters, c)),
    ),
    (
        "parameters of all stages, millions",
        "parameters of all stages, {unit}",
        _MILLIONS,
        COUNT,
        lambda c: sum(map(_parameters, c)),
    ),
    (
        "TFLOPs of an iteration, stages summed",
        "{unit}s of an iteration, stages summed",
        _TFLOP,
        WORK,
        lambda c: sum(each.total.flops for each in c),
    ),
    (
        "time of an iteration, ms, stages summed",
        "time of an iteration, {unit}, stages summed",
        _MS,
        STEP,
        lambda c: sum(each.seconds for each in c),
    ),
    (
        "time of the costliest stage's, ms",
        "time of the costliest stage's, {unit}",
        _MS,
        STEP,
        lambda c: max(each.seconds for each in c),
    ),
    (
        "iterations, thousands, stages summed",
        "iterations, {unit}, stages summed",
        _THOUSANDS,
        COUNT[1:],
        lambda c: sum(each.iterations for each in c),
    ),
    (
        "days, stages summed",
        "time of all iterations, {unit}, stages summed",
        _DAYS,
        TRAINING,
        lambda c: DAY * sum(each.days for each in c),
    ),
    (
        "TFLOPs of a generated clip",
        "{unit}s of a generated clip",
        _TFLOP,
        WORK,
        lambda c: c[-1].flops_cascade,
    ),
)
"""Of each figure: its key and unit for programs, its label and units for people, and what it is of a cascade."""
