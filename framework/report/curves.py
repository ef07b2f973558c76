"""Losses and scores over the iterations, as SVG inside of the page."""

from __future__ import annotations

import re
from collections.abc import Sequence
from io import StringIO
from math import nan
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from framework.report.html import Html

INK = "#7f8a99"
"""Of axes and words: it can be read on light and on dark ground."""
OF_TRAINING = ("iteration", "clips_per_second", "memory_mb", "r1", "skipped")
"""Of a line of metrics what is neither drawn nor measured; costs have some of it."""
MOST_ACROSS = 4
"""Measured metrics beside each other."""
COLOURS = ("#3b9dc9", "#d1495b", "#e0a030", "#66a182", "#9b6fc0", "#8d6e63")


def curves(lines: Sequence[dict[str, Any]], stage: str) -> Html:
    """A stage's losses beside its discriminators' scores of real (solid) and of generated videos (dashed).

    Below them what was measured now and then, a panel each.
    """
    measured = sorted({name for line in lines for name in line if not _is_of_training(name)})
    rows = 1 + -(-len(measured) // MOST_ACROSS)
    figure = Figure(figsize=(9.5, 2.9 + 2.2 * (rows - 1)), layout="constrained")
    FigureCanvasSVG(figure)
    parts = list(figure.subfigures(rows, 1, height_ratios=[2.9] + [2.2] * (rows - 1), squeeze=False)[:, 0])
    left, right = parts[0].subplots(1, 2)
    _losses(left, lines)
    _scores(right, lines)
    axes = [left, right]
    for row, part in enumerate(parts[1:]):
        panels = part.subplots(1, MOST_ACROSS)
        for number, axis in enumerate(panels):
            place = row * MOST_ACROSS + number
            if place >= len(measured):
                axis.set_axis_off()
                continue
            points = [(line["iteration"], line[measured[place]]) for line in lines if measured[place] in line]
            axis.plot(*zip(*points, strict=True), color=COLOURS[0], marker=".", linewidth=1.3)
            axis.set_title(measured[place], color=INK, fontsize=10)
            axes.append(axis)
    for part in parts:
        part.patch.set_alpha(0)
    for axis in axes:
        axis.tick_params(colors=INK, labelsize=8)
        axis.set_xlabel("iteration", color=INK, fontsize=8)
        axis.set_facecolor("none")
        axis.grid(visible=True, color=INK, alpha=0.2)
        for spine in axis.spines.values():
            spine.set_color(INK)
    for axis in (left, right):
        if axis.get_lines():
            axis.legend(fontsize=8, labelcolor=INK, frameon=False)
    more = f"; {', '.join(measured)}" if measured else ""
    return as_svg(figure, f"Losses and scores of {stage} over the iterations{more}")


def _losses(axis: Axes, lines: Sequence[dict[str, Any]]) -> None:
    iterations = [line["iteration"] for line in lines]
    for number, name in enumerate(("loss_D", "loss_G")):
        axis.plot(iterations, [line.get(name, nan) for line in lines], color=COLOURS[number], label=name, linewidth=1.3)
    axis.set_title("losses", color=INK, fontsize=10)


def _scores(axis: Axes, lines: Sequence[dict[str, Any]]) -> None:
    iterations = [line["iteration"] for line in lines]
    owners = sorted({name.removesuffix("/real") for line in lines for name in line if name.endswith("/real")})
    for number, owner in enumerate(owners):
        colour = COLOURS[number % len(COLOURS)]
        for side, style in (("real", "-"), ("fake", "--")):
            values = [line.get(f"{owner}/{side}", nan) for line in lines]
            label = owner if side == "real" else None
            axis.plot(iterations, values, style, color=colour, label=label, linewidth=1.3)
    axis.set_title("scores: real solid, generated dashed", color=INK, fontsize=10)


def _is_of_training(name: str) -> bool:
    """Whether every line of metrics has it, or none: all but the figures of ``training.evaluate``."""
    return name in OF_TRAINING or name.endswith(("/real", "/fake")) or name.startswith(("loss_", "grad_norm_", "lr_"))


def as_svg(figure: Figure, label: str) -> Html:
    """A figure as an SVG element, its ground left open."""
    figure.patch.set_alpha(0)
    buffer = StringIO()
    # A salt of its own for each label: ids must not meet those of the page's other figures.
    with rc_context({"svg.hashsalt": label, "svg.fonttype": "path"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    return Html(svg.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1))
