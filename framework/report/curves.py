"""Losses and scores over the iterations, as SVG inside of the page."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from framework.report.html import Html
from registry import InputError

INK = "#7f8a99"
"""Of axes and words: it can be read on light and on dark ground."""
COLOURS = ("#3b9dc9", "#d1495b", "#e0a030", "#66a182", "#9b6fc0", "#8d6e63")


def read_metrics(path: Path) -> tuple[list[dict[str, Any]], str | None]:
    """The lines of a stage's ``metrics.jsonl``, and a note where the last one was cut short.

    Raises:
        InputError: another line is damaged; it names the file and the line.
    """
    if not path.is_file():
        return [], None
    lines = path.read_text().splitlines(keepends=True)
    found: list[dict[str, Any]] = []
    for number, line in enumerate(lines, 1):
        try:
            values = json.loads(line)
            found.append({**values, "iteration": int(values["iteration"])})
        except (ValueError, KeyError, TypeError):
            if number == len(lines) and not line.endswith("\n"):
                return found, f"{path.name}, line {number}: cut short, left out"
            raise InputError.of(f"{path}, line {number}", "is damaged", "a line of metrics as JSON") from None
    return found, None


def curves(lines: Sequence[dict[str, Any]], stage: str) -> Html:
    """A stage's losses beside its discriminators' scores of real (solid) and of generated videos (dashed)."""
    iterations = [line["iteration"] for line in lines]
    scores = sorted({name for line in lines for name in line if name.endswith(("/real", "/fake"))}, reverse=True)
    figure = Figure(figsize=(9.5, 2.9), layout="constrained")
    FigureCanvasSVG(figure)
    left, right = figure.subplots(1, 2)
    for number, name in enumerate(("loss_D", "loss_G")):
        left.plot(iterations, [line.get(name) for line in lines], color=COLOURS[number], label=name, linewidth=1.3)
    owners = sorted({name.rpartition("/")[0] for name in scores})
    for name in scores:
        owner, _, side = name.rpartition("/")
        colour = COLOURS[owners.index(owner) % len(COLOURS)]
        style = "-" if side == "real" else "--"
        values = [line.get(name) for line in lines]
        right.plot(iterations, values, style, color=colour, label=name if side == "real" else None, linewidth=1.3)
    left.set_title("losses", color=INK, fontsize=10)
    right.set_title("scores: real solid, generated dashed", color=INK, fontsize=10)
    for axis in (left, right):
        axis.tick_params(colors=INK, labelsize=8)
        axis.set_xlabel("iteration", color=INK, fontsize=8)
        axis.set_facecolor("none")
        axis.grid(visible=True, color=INK, alpha=0.2)
        for spine in axis.spines.values():
            spine.set_color(INK)
        if axis.get_lines():
            axis.legend(fontsize=8, labelcolor=INK, frameon=False)
    return as_svg(figure, f"Losses and scores of {stage} over the iterations")


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
