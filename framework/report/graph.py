"""The cascade drawn: stages as boxes, views as the arrows from one to the one below."""

from __future__ import annotations

from framework.describe import describe_stage
from framework.experiment import Experiment
from framework.graph import Stage
from framework.report.html import Html, join, tag

WIDTH, HEIGHT, GAP = 280, 104, 130


def graph_svg(experiment: Experiment) -> Html:
    """The stages from left to right, in columns by their distance from the base, branches below each other."""
    graph = experiment.graph
    places: dict[str, tuple[int, int]] = {}
    for stage in graph.order():
        column = len(graph.chain(stage.name)) - 1
        row = sum(1 for taken, _ in places.values() if taken == column)
        places[stage.name] = (column, row)
    across = max(column for column, _ in places.values()) + 1
    down = max(row for _, row in places.values()) + 1
    width, height = across * (WIDTH + GAP) - GAP + 20, down * (HEIGHT + 30)
    drawn = [_arrow(stage, places) for stage in graph.stages if stage.source]
    drawn += [_box(experiment, stage, places[stage.name]) for stage in graph.stages]
    words = "; ".join(f"{stage.name} generates {stage.clip}" for stage in graph.order())
    label = f"The cascade: {words}"
    return tag(
        "svg", *drawn, viewBox=f"0 0 {width} {height}", width=width, role="img", aria_label=label, class_="graph"
    )


def _box(experiment: Experiment, stage: Stage, place: tuple[int, int]) -> Html:
    x, y = _corner(place)
    counts = describe_stage(experiment, stage)["parameters"]
    generator, discriminators = counts["generator"], sum(counts.values()) - counts["generator"]
    window = f"window of {stage.window} frames" if stage.window else "the whole clip"
    lines = [
        (stage.name, "name"),
        (f"{stage.clip}", ""),
        (f"{window}, {experiment.training_of(stage).iterations:,} iterations", "soft"),
        (f"G {_count(generator)} parameters, D {_count(discriminators)} in {len(stage.discriminators)}", "soft"),
    ]
    words = [
        tag("text", line, x=x + 12, y=y + 25 + 22 * number, class_=style or None)
        for number, (line, style) in enumerate(lines)
    ]
    return join([tag("rect", x=x, y=y, width=WIDTH, height=HEIGHT, rx=8), *words])


def _arrow(stage: Stage, places: dict[str, tuple[int, int]]) -> Html:
    x1, y1 = _corner(places[stage.source or ""])
    x2, y2 = _corner(places[stage.name])
    x1, y1, y2 = x1 + WIDTH, y1 + HEIGHT // 2, y2 + HEIGHT // 2
    middle = (x1 + x2) // 2
    path = tag("path", d=f"M{x1} {y1} C{middle} {y1} {middle} {y2} {x2 - 8} {y2}")
    head = tag("path", d=f"M{x2} {y2} l-9 -5 v10 z", class_="head")
    view = str(stage.view).partition("(")
    options = view[2].rstrip(")")
    words = [
        tag("text", line, x=middle, y=(y1 + y2) // 2 + shift, text_anchor="middle", class_="soft")
        for line, shift in ((view[0], -10), (options, 20))
        if line
    ]
    return join([path, head, *words])


def _corner(place: tuple[int, int]) -> tuple[int, int]:
    column, row = place
    return 10 + column * (WIDTH + GAP), 10 + row * (HEIGHT + 30)


def _count(number: int) -> str:
    """A number of parameters in few characters."""
    for unit, letter in ((1_000_000_000, "B"), (1_000_000, "M"), (1_000, "k")):
        if number >= unit:
            return f"{number / unit:.3g}{letter}"
    return str(number)
