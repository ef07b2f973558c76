"""Costs as tables of text, 100 columns wide at most."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import attrs

from framework.cost.summary import CONTEXT, FRAGMENTS, Setting, StageCost
from framework.cost.table import GIGA, TERA, Row, table
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
    precision = setting.precision or experiment.training.precision
    count = f"{len(costs)} stage{'s' * (len(costs) > 1)}"
    steps = experiment.training.discriminator_steps
    return [
        f"{experiment.name}: {count}, {graph.clip}, {classes}",
        f"on {setting.gpus} x {setting.card.name}, {precision}, {steps} updates of the discriminators in an iteration",
    ]


def _rows(setting: Setting, costs: Sequence[StageCost]) -> list[Row]:
    rows: list[Row] = [_row("clip", costs, lambda c: c.clip), _row("window", costs, lambda c: c.window)]
    rows.append(_row("clips in an update, per GPU", costs, _clips))
    rows += [("", []), ("parameters, millions", [])]
    for name in dict.fromkeys(name for cost in costs for name in cost.parameters):
        rows.append(_numbers(f"  {name}", costs, lambda c, name=name: c.parameters.get(name, 0) / 1e6, "{:.1f}"))  # type: ignore[misc]
    rows += [("", []), ("peak memory of a step, GB", [])]
    for name, label in MEMORY_NAMES.items():
        if any(cost.memory.bytes[name] for cost in costs):
            rows.append(_row(f"  {label}", costs, lambda c, name=name: _gigabytes(c.memory.bytes[name])))  # type: ignore[misc]
    rows.append(_row("  in all", costs, lambda c: f"{c.memory.total / GIGA:.2f}"))
    rows.append(_row("  in the update of", costs, lambda c: c.memory.update))
    rows.append(_row(f"clips at once that fit {setting.card.memory / GIGA:g} GB", costs, lambda c: str(c.most_clips)))
    if any(cost.advice is not None for cost in costs):
        rows.append(_row("training.clips_per_gpu that fits", costs, _advice))
    rows += [("", []), ("TFLOPs of an iteration", [])]
    rows += _by_part(costs, lambda c, part: c.iteration[part].flops / TERA if part in c.iteration else 0.0, "{:.2f}")
    rows.append(_numbers("  in all", costs, lambda c: c.total.flops / TERA, "{:.2f}"))
    rows += [("", []), ("TFLOPs of a generated clip", [])]
    rows.append(_numbers("  this stage", costs, lambda c: c.flops_alone / TERA, "{:.2f}"))
    rows.append(_row("  the cascade so far", costs, lambda c: f"{c.flops_cascade / TERA:.2f}"))
    rows += [("", []), (f"time of an iteration, ms ({_bound(setting)})", [])]
    rows += _by_part(costs, lambda c, part: 1e3 * c.iteration[part].seconds if part in c.iteration else 0.0, "{:.1f}")
    if setting.gpus > 1:
        rows.append(_numbers("  between GPUs", costs, lambda c: 1e3 * c.exchange, "{:.1f}"))
    rows.append(_numbers("  in all", costs, lambda c: 1e3 * c.seconds, "{:.1f}"))
    if setting.gpus > 1:
        rows.append(_row("  share of what is between GPUs", costs, lambda c: f"{c.exchange / c.seconds:.1%}"))
    rows.append(_row("  share of the frozen prefix", costs, _prefix_share))
    rows.append(_row("iterations", costs, lambda c: f"{c.iterations:,}"))
    rows.append(_numbers("days", costs, lambda c: c.days, "{:.2f}"))
    return rows


def _by_part(costs: Sequence[StageCost], value: Callable[[StageCost, str], float], form: str) -> list[Row]:
    parts = [part for part in PART_NAMES if any(value(cost, part) for cost in costs)]
    return [_numbers(f"  {PART_NAMES[part]}", costs, lambda c, part=part: value(c, part), form) for part in parts]  # type: ignore[misc]


def _row(name: str, costs: Sequence[StageCost], cell: Callable[[StageCost], str]) -> Row:
    return name, [*map(cell, costs), *([""] if len(costs) > 1 else [])]


def _numbers(name: str, costs: Sequence[StageCost], value: Callable[[StageCost], float], form: str) -> Row:
    """With their sum."""
    values = [value(cost) for cost in costs]
    cells = [form.format(each) if each else "" for each in values]
    return name, [*cells, *([form.format(sum(values))] if len(costs) > 1 else [])]


def _gigabytes(size: int) -> str:
    return f"{size / GIGA:.2f}" if size else ""


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
