"""Costs as tables of text, 100 columns wide at most."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import attrs

from framework.cost.summary import CONTEXT, DAY, FRAGMENTS, Setting, StageCost, training_of
from framework.cost.table import GIGA, TERA, Row, table
from framework.cost.units import COUNT, MEMORY, STEP, TRAINING, WORK, Unit, unit_of
from framework.experiment import Experiment

PART_NAMES = {
    "prefix": "frozen prefix, mean over windows",
    "generator": "generator",
    "discriminators": "discriminators",
    "optimizer": "Adam, norm of gradients",
    "rest": "views of the data, loss",
}
MEMORY_NAMES = {
    "weights": "weights",
    "sources": "weights of frozen sources",
    "buffers": "statistics, singular vectors",
    "gradients": "gradients",
    "optimizer": "Adam's states",
    "activations": "activations",
    "temporaries": "temporaries of backward and Adam",
    "other": "average of weights",
}


def summary_text(experiment: Experiment, setting: Setting, costs: Sequence[StageCost]) -> str:
    """What each stage costs, a column for each, and what it is a figure of."""
    header = ["", *(cost.name for cost in costs), *(["sum"] if len(costs) > 1 else [])]
    return "\n".join(
        [*_heading(experiment, setting, costs), "", *table(header, _rows(setting, costs)), "", *_notes(setting)]
    )


def summary_data(experiment: Experiment, setting: Setting, costs: Sequence[StageCost]) -> dict[str, Any]:
    """The same as plain data: bytes, FLOPs, seconds."""
    derived = ("own", "total", "seconds", "days")
    stages = [
        {**attrs.asdict(cost), **{name: _plain(getattr(cost, name)) for name in derived}, "peak": cost.memory.total}
        for cost in costs
    ]
    chosen = {**attrs.asdict(setting), "capacity": setting.capacity}
    return {"name": experiment.name, "clip": str(experiment.graph.clip), "setting": chosen, "stages": stages}


def _plain(value: Any) -> Any:
    return attrs.asdict(value) if attrs.has(type(value)) else value


def _heading(experiment: Experiment, setting: Setting, costs: Sequence[StageCost]) -> list[str]:
    graph = experiment.graph
    classes = "unconditional" if graph.classes is None else f"{graph.classes} classes"
    trainings = {stage.name: training_of(experiment, stage, setting) for stage in graph.order()}
    count = f"{len(costs)} stage{'s' * (len(costs) > 1)}"
    precision = _shared({name: training.precision for name, training in trainings.items()})
    steps = _shared({name: str(training.discriminator_steps) for name, training in trainings.items()})
    return [
        f"{experiment.name}: {count}, {graph.clip}, {classes}",
        f"on {setting.gpus} x {setting.card.name}, {precision}",
        f"updates of the discriminators in an iteration: {steps}",
    ]


def _shared(values: Mapping[str, str]) -> str:
    """What all stages have, or what each does."""
    if len(set(values.values())) == 1:
        return next(iter(values.values()))
    return ", ".join(f"{value} ({name})" for name, value in values.items())


def _rows(setting: Setting, costs: Sequence[StageCost]) -> list[Row]:
    several = setting.gpus > 1
    rows: list[Row] = [_row("clip", costs, lambda c: c.clip), _row("window", costs, lambda c: c.window)]
    rows.append(_row("clips in an update, per GPU", costs, _clips))
    rows += _parameters(costs)
    rows += _memory(costs)
    rows.append(_row(f"clips at once that fit {setting.card.memory / GIGA:g} GB", costs, lambda c: str(c.most_clips)))
    if any(cost.advice is not None for cost in costs):
        rows.append(_row("training.clips_per_gpu that fits", costs, _advice))
    unit = unit_of(WORK, _with_sum(cost.total.flops for cost in costs))
    rows += [("", []), (f"{unit.name}s of an iteration", [])]
    rows += _by_part(costs, lambda c, part: c.iteration[part].flops, unit)
    rows.append(_numbers("  in all", costs, lambda c: c.total.flops, unit))
    unit = unit_of(WORK, _with_sum(cost.flops_alone for cost in costs))
    rows += [("", []), (f"{unit.name}s of a generated clip", [])]
    rows.append(_numbers("  this stage", costs, lambda c: c.flops_alone, unit))
    rows.append(_row("  the cascade so far", costs, lambda c, unit=unit: unit.show(c.flops_cascade)))  # type: ignore[misc]
    unit = unit_of(STEP, _with_sum(cost.seconds for cost in costs))
    rows += [("", []), (f"time of an iteration, {unit.name} ({_bound(setting)})", [])]
    rows += _by_part(costs, lambda c, part: c.iteration[part].seconds, unit)
    rows += [_numbers("  between GPUs", costs, lambda c: c.exchange, unit)] * several
    rows.append(_numbers("  in all", costs, lambda c: c.seconds, unit))
    rows += [_row("  share of what is between GPUs", costs, lambda c: f"{c.exchange / c.seconds:.1%}")] * several
    rows.append(_row("  share of the frozen prefix", costs, _prefix_share))
    rows.append(_row("iterations", costs, lambda c: f"{c.iterations:,}"))
    unit = unit_of(TRAINING, _with_sum(cost.days * DAY for cost in costs))
    rows.append(_numbers(f"time of all iterations, {unit.name}", costs, lambda c: c.days * DAY, unit))
    return rows


def _parameters(costs: Sequence[StageCost]) -> list[Row]:
    names = list(dict.fromkeys(name for cost in costs for name in cost.parameters))
    unit = unit_of(COUNT, (sum(cost.parameters.get(name, 0) for cost in costs) for name in names))
    rows: list[Row] = [("", []), (f"parameters, {unit.name}", [])]
    return rows + [_numbers(f"  {name}", costs, lambda c, name=name: c.parameters.get(name, 0), unit) for name in names]  # type: ignore[misc]


def _memory(costs: Sequence[StageCost]) -> list[Row]:
    unit = unit_of(MEMORY, (cost.memory.total for cost in costs))
    rows: list[Row] = [("", []), (f"peak memory of a step, {unit.name}", [])]
    for name, label in MEMORY_NAMES.items():
        if any(cost.memory.bytes[name] for cost in costs):
            rows.append(_row(f"  {label}", costs, lambda c, name=name: unit.show(c.memory.bytes[name])))  # type: ignore[misc]
    rows.append(_row("  in all", costs, lambda c: unit.show(c.memory.total)))
    rows.append(_row("  in the update of", costs, lambda c: c.memory.update))
    return rows


def _by_part(costs: Sequence[StageCost], value: Callable[[StageCost, str], float], unit: Unit) -> list[Row]:
    """A row for each part of an iteration that any stage has."""

    def of(cost: StageCost, part: str) -> float:
        return value(cost, part) if part in cost.iteration else 0.0

    parts = [part for part in PART_NAMES if any(of(cost, part) for cost in costs)]
    return [_numbers(f"  {PART_NAMES[part]}", costs, lambda c, part=part: of(c, part), unit) for part in parts]  # type: ignore[misc]


def _with_sum(values: Iterable[float]) -> list[float]:
    each = list(values)
    return [*each, sum(each)]


def _row(name: str, costs: Sequence[StageCost], cell: Callable[[StageCost], str]) -> Row:
    return name, [*map(cell, costs), *([""] if len(costs) > 1 else [])]


def _numbers(name: str, costs: Sequence[StageCost], value: Callable[[StageCost], float], unit: Unit) -> Row:
    """With their sum."""
    values = [value(cost) for cost in costs]
    return name, [unit.show(each) for each in (_with_sum(values) if len(costs) > 1 else values)]


def _clips(cost: StageCost) -> str:
    return str(cost.clips) if cost.parts == 1 else f"{cost.clips} in {cost.parts} parts"


def _advice(cost: StageCost) -> str:
    return "" if cost.advice is None else str(cost.advice or "none")


def _prefix_share(cost: StageCost) -> str:
    return f"{cost.iteration['prefix'].seconds / cost.seconds:.1%}" if "prefix" in cost.iteration else ""


def _bound(setting: Setting) -> str:
    return "a lower bound" if setting.efficiency == 1 else f"at {setting.efficiency:.0%} of the bound"


def _notes(setting: Setting) -> list[str]:
    card = setting.card
    rates = f"{card.half / TERA:g} / {card.tf32 / TERA:g} / {card.fp32 / TERA:g} TFLOP/s in half, TF32, float32"
    rates += "" if card.bfloat16 else "; no bfloat16"
    lines = [
        f"{card.name}: {rates}, {card.bandwidth / GIGA:g} GB/s.",
        f"Its figures: {card.source}.",
        *([f"As given: {', '.join(card.given)}."] if card.given else []),
        "Time is the roofline of operations as torch runs them one by one: each at its FLOPs or its bytes,",
        "whichever takes longer. Compiled code moves fewer bytes; launches, loader and hooks come on top.",
        f"What fits leaves {CONTEXT / GIGA:g} GB to CUDA, {FRAGMENTS:.0%} to the allocator's gaps; 1 GB is 10^9 bytes.",
    ]
    if setting.gpus > 1:
        where = "in one machine" if setting.gpus <= card.per_machine else f"in machines of {card.per_machine}"
        lines.append(f"{setting.gpus} GPUs {where}, ring reductions, none of them hidden behind computing.")
    return lines
