"""Growth as a table, a plot, and plain data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator

from framework.checkpoint import naming
from framework.cost.growth import LENGTHS, SINGLE, SIZES, Curve, Growth, Point
from framework.cost.table import GIGA, TERA, Row, table

FIGURES: dict[str, Callable[[Point], float]] = {
    "TFLOPs of an iteration, without the prefix": lambda point: point.own.flops / TERA,
    "TFLOPs of its frozen prefix, mean over windows": lambda point: point.prefix.flops / TERA,
    "peak memory, GB": lambda point: point.memory / GIGA,
}
AXES = {"length": ("frames", LENGTHS), "size": ("pixels a side", SIZES)}


def growth_text(growth: Growth) -> str:
    """A table for each figure, stages by factors of length and of resolution."""
    header = ["frames, then pixels a side", *(f"{factor:g}x" for factor in (*LENGTHS, *SIZES))]
    rows: list[Row] = []
    for figure, value in FIGURES.items():
        rows += [("", []), (figure, [])]
        for name in growth.length:
            cells = [*_cells(growth.length[name], value), *_cells(growth.size[name], value)]
            if any(cell not in ("0.00", "-") for cell in cells):
                rows.append((f"  {name}", cells))
    return "\n".join(table(header, rows))


def growth_data(growth: Growth) -> dict[str, Any]:
    """The same as plain data."""
    return {
        axis: {name: [point and attrs.asdict(point) for point in curve] for name, curve in curves.items()}
        | {"factors": list(AXES[axis][1])}
        for axis, curves in (("length", growth.length), ("size", growth.size))
    }


def save_growth_plot(growth: Growth, path: Path) -> None:
    """Write the plot: memory and FLOPs over length and resolution, a line for each stage; the prefix is dotted."""
    figure = Figure(figsize=(8.0, 6.0), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(2, 2, sharex="col", sharey="row")
    sides: list[tuple[str, Mapping[str, Curve]]] = [("length", growth.length), ("size", growth.size)]
    for column, (axis, curves) in enumerate(sides):
        axis_label, factors = AXES[axis]
        for row, name in enumerate(("peak memory, GB", "TFLOPs of an iteration, without the prefix")):
            _lines(panels[row][column], curves, factors, FIGURES[name], "-")
            label = name.partition(", without")[0]
            panels[row][column].set(xscale="log", yscale="log", ylabel=label if column == 0 else "")
            panels[row][column].grid(visible=True, alpha=0.3)
        _lines(panels[1][column], curves, factors, FIGURES["TFLOPs of its frozen prefix, mean over windows"], ":")
        panels[1][column].set_xlabel(axis_label)
        panels[1][column].xaxis.set_major_locator(FixedLocator(factors))
        panels[1][column].xaxis.set_minor_locator(NullLocator())
        panels[1][column].xaxis.set_minor_formatter(NullFormatter())
        panels[1][column].xaxis.set_major_formatter(lambda factor, _: f"{factor:g}x")
    if any(point and point.prefix.flops for curve in growth.length.values() for point in curve):
        panels[1][0].plot([], [], ":", color="grey", marker="o", markersize=4, label="a stage's frozen prefix")
    lines = [*panels[0][0].get_lines(), *(line for line in panels[1][0].get_lines() if line.get_color() == "grey")]
    figure.legend(handles=lines, frameon=False, loc="outside upper center", ncols=len(lines))
    path.parent.mkdir(parents=True, exist_ok=True)
    with naming(path):
        figure.savefig(path, format="png", dpi=150)


def _lines(
    panel: Any, curves: Mapping[str, Curve], factors: tuple[float, ...], value: Callable[[Point], float], style: str
) -> None:
    for number, (name, curve) in enumerate(curves.items()):
        known = [(factor, value(point)) for factor, point in zip(factors, curve, strict=True) if point is not None]
        drawn = [(factor, height) for factor, height in known if height]
        if drawn:
            colour = "black" if name == SINGLE else f"C{number}"
            label = {"label": name} if style == "-" else {}
            panel.plot(*zip(*drawn, strict=True), style, color=colour, marker="o", markersize=4, **label)


def _cells(curve: Curve, value: Callable[[Point], float]) -> list[str]:
    return ["-" if point is None else f"{value(point):.2f}" for point in curve]
