"""Growth as a table, a plot, and plain data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
from matplotlib import figure as pictures
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator

from framework.checkpoint import naming
from framework.cost.growth import LENGTHS, SINGLE, SIZES, Curve, Growth, Point
from framework.cost.table import Row, table
from framework.cost.units import MEMORY, WORK, Unit, unit_of_least


@attrs.frozen
class Figure:
    """What is drawn and written of every point."""

    label: str
    """With ``{unit}`` where the unit goes."""
    units: Sequence[Unit]
    of: Callable[[Point], float]
    """In the base unit."""

    def unit(self, growth: Growth) -> Unit:
        """One for all stages at all lengths and sizes, by the least of them."""
        curves = [*growth.length.values(), *growth.size.values()]
        figures = [self.of(point) for curve in curves for point in curve if point is not None]
        return unit_of_least(self.units, figures)


OWN = Figure("{unit}s of an iteration, without the prefix", WORK, lambda point: point.own.flops)
PREFIX = Figure("{unit}s of its frozen prefix, mean over windows", WORK, lambda point: point.prefix.flops)
PEAK = Figure("peak memory, {unit}", MEMORY, lambda point: point.memory)
AXES = {"length": ("frames", LENGTHS), "size": ("pixels a side", SIZES)}


def growth_text(growth: Growth) -> str:
    """A table for each figure, stages by factors of length and of resolution."""
    header = ["frames, then pixels a side", *(f"{factor:g}x" for factor in (*LENGTHS, *SIZES))]
    rows: list[Row] = []
    for figure in (OWN, PREFIX, PEAK):
        unit = figure.unit(growth)
        rows += [("", []), (figure.label.format(unit=unit.name), [])]
        for name in growth.length:
            points = [*growth.length[name], *growth.size[name]]
            if any(point is not None and figure.of(point) for point in points):
                rows.append((f"  {name}", ["-" if each is None else unit.show(figure.of(each)) for each in points]))
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
    figure = pictures.Figure(figsize=(8.0, 6.0), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(2, 2, sharex="col", sharey="row")
    sides: list[tuple[str, Mapping[str, Curve]]] = [("length", growth.length), ("size", growth.size)]
    for column, (axis, curves) in enumerate(sides):
        axis_label, factors = AXES[axis]
        for row, what in enumerate((PEAK, OWN)):
            unit = what.unit(growth)
            _lines(panels[row][column], curves, factors, lambda point, what=what, unit=unit: what.of(point) / unit.size)  # type: ignore[misc]
            label = what.label.format(unit=unit.name).partition(", without")[0]
            panels[row][column].set(xscale="log", yscale="log", ylabel=label if column == 0 else "")
            panels[row][column].grid(visible=True, alpha=0.3)
        own = OWN.unit(growth)
        _lines(panels[1][column], curves, factors, lambda point, own=own: PREFIX.of(point) / own.size, ":")  # type: ignore[misc]
        panels[1][column].set_xlabel(axis_label)
        panels[1][column].xaxis.set_major_locator(FixedLocator(factors))
        panels[1][column].xaxis.set_minor_locator(NullLocator())
        panels[1][column].xaxis.set_minor_formatter(NullFormatter())
        panels[1][column].xaxis.set_major_formatter(lambda factor, _: f"{factor:g}x")
    if any(point and point.prefix.flops for curve in growth.length.values() for point in curve):
        panels[1][0].plot([], [], ":", color="grey", marker="o", markersize=4, label="a stage's frozen prefix")
    lines = [*panels[0][0].get_lines(), *(line for line in panels[1][0].get_lines() if line.get_color() == "grey")]
    figure.legend(handles=lines, frameon=False, loc="outside upper center", ncols=len(lines))
    with naming(path):
        figure.savefig(path, format="png", dpi=150)


def _lines(
    panel: Any,
    curves: Mapping[str, Curve],
    factors: tuple[float, ...],
    value: Callable[[Point], float],
    style: str = "-",
) -> None:
    for number, (name, curve) in enumerate(curves.items()):
        known = [(factor, value(point)) for factor, point in zip(factors, curve, strict=True) if point is not None]
        drawn = [(factor, height) for factor, height in known if height]
        if drawn:
            colour = "black" if name == SINGLE else f"C{number}"
            label = {"label": name} if style == "-" else {}
            panel.plot(*zip(*drawn, strict=True), style, color=colour, marker="o", markersize=4, **label)
