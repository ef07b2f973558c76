"""Two cascades side by side: what the second costs in units of the first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

from framework.cost.summary import Setting, StageCost, clips_of, training_of
from framework.cost.table import GIGA, TERA, Row, table
from framework.experiment import Experiment


@attrs.frozen(kw_only=True)
class Comparison:
    """A figure of two cascades."""

    name: str
    first: float
    second: float

    @property
    def ratio(self) -> float:
        """The second's in units of the first's."""
        return self.second / self.first


def equal_batch(experiment: Experiment, setting: Setting) -> Setting:
    """The setting with a batch that both cascades are to have: the given one, or that of the first's first stage."""
    stage = experiment.graph.order()[0]
    return attrs.evolve(setting, batch=clips_of(stage, training_of(experiment, stage, setting), setting))


def compare(first: Sequence[StageCost], second: Sequence[StageCost]) -> list[Comparison]:
    """The figures of two cascades that training and generating cost by."""

    def pair(name: str, figure: Any) -> Comparison:
        return Comparison(name=name, first=figure(first), second=figure(second))

    return [
        pair("peak memory of the costliest stage, GB", lambda c: max(each.memory.total for each in c) / GIGA),
        pair("  of it activations and temporaries", lambda c: _of_clips(max(c, key=lambda s: s.memory.total)) / GIGA),
        pair("parameters of the largest stage, millions", lambda c: max(map(_parameters, c)) / 1e6),
        pair("parameters of all stages, millions", lambda c: sum(map(_parameters, c)) / 1e6),
        pair("TFLOPs of an iteration, stages summed", lambda c: sum(each.total.flops for each in c) / TERA),
        pair("time of an iteration, ms, stages summed", lambda c: 1e3 * sum(each.seconds for each in c)),
        pair("time of the costliest stage's, ms", lambda c: 1e3 * max(each.seconds for each in c)),
        pair("iterations, thousands, stages summed", lambda c: sum(each.iterations for each in c) / 1e3),
        pair("days, stages summed", lambda c: sum(each.days for each in c)),
        pair("TFLOPs of a generated clip", lambda c: c[-1].flops_cascade / TERA),
    ]


def comparison_text(
    experiments: tuple[Experiment, Experiment], costs: tuple[Sequence[StageCost], Sequence[StageCost]]
) -> str:
    """The comparison as a table, with each stage's memory by itself, and how the outputs differ."""
    rows: list[Row] = [
        (each.name, [f"{each.first:.2f}", f"{each.second:.2f}", f"{each.ratio:.2f}"]) for each in compare(*costs)
    ]
    rows += [("", []), ("peak memory of each stage, GB", [])]
    for side, stages in enumerate(costs):
        for stage in stages:
            cells = ["", ""]
            cells[side] = f"{stage.memory.total / GIGA:.2f}"
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
        "figures": {
            each.name.strip(): {"first": each.first, "second": each.second, "ratio": each.ratio}
            for each in compare(*costs)
        },
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
