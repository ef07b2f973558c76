"""``metrics.jsonl``: a JSON object a line, in the order of the iterations, which :mod:`framework.hooks` appends."""

from __future__ import annotations

import json
import shutil
from itertools import count
from pathlib import Path
from typing import Any

import attrs

from framework.checkpoint import write_whole
from registry import InputError
from registry.cli import note


@attrs.frozen
class _Line:
    text: str
    values: dict[str, Any] | None
    """None where it is damaged."""
    ended: bool
    """Whether a line break follows; the last line may have been cut short."""


def read_metrics(path: Path) -> tuple[list[dict[str, Any]], str | None]:
    """The lines of a ``metrics.jsonl``, and a note where the last one was cut short.

    Raises:
        InputError: another line is damaged; it names the file and the line.
    """
    found: list[dict[str, Any]] = []
    for number, line in enumerate(_lines(path), 1):
        if line.values is not None:
            found.append(line.values)
        elif line.ended:
            allowed = "a line of metrics as JSON, or training again, which leaves the damaged ones out"
            raise InputError.of(f"{path}, line {number}", "is damaged", allowed)
        else:
            return found, f"{path.name}, line {number}: cut short, left out"
    return found, None


def cut_metrics(path: Path, last: int) -> None:
    """Leave the lines up to iteration ``last``: a training that goes on from there makes later ones again.

    What is no line of metrics is left out, and a note says which line it was. One that was cut short is what a killed
    process leaves; of a file with any other the whole is kept beside, as ``metrics.jsonl.damaged``, or where that is
    there from before as ``metrics.jsonl.damaged-2`` and so on.
    """
    lines = _lines(path)
    damaged = [number for number, line in enumerate(lines, 1) if line.values is None and line.ended]
    if damaged:
        aside = _free(path.with_name(path.name + ".damaged"))
        shutil.copyfile(path, aside)
        more = f" (and {len(damaged) - 1} more)" if len(damaged) > 1 else ""
        note(f"{path}, line {damaged[0]}{more}: damaged, left out; the file as it was is now {aside.name}")
    if lines and lines[-1].values is None and not lines[-1].ended:
        note(f"{path}, line {len(lines)}: cut short, left out")
    kept = [line for line in lines if line.values is not None and line.values["iteration"] <= last]
    if kept != lines or not all(line.ended for line in lines):  # that of a finished stage stays untouched
        write_whole(path, "".join(f"{line.text}\n" for line in kept))


def _free(path: Path) -> Path:
    """``path``, or the first of ``path-2``, ``path-3`` and so on that is not there."""
    names = (path if number == 1 else path.with_name(f"{path.name}-{number}") for number in count(1))
    return next(name for name in names if not name.exists())


def _lines(path: Path) -> list[_Line]:
    if not path.is_file():
        return []
    *ended, rest = path.read_bytes().decode(errors="replace").split("\n")
    lines = [_Line(text, _values(text), ended=True) for text in ended]
    return [*lines, _Line(rest, _values(rest), ended=False)] if rest else lines


def _values(text: str) -> dict[str, Any] | None:
    try:
        values = json.loads(text)
    except ValueError:
        return None
    sound = isinstance(values, dict) and isinstance(values.get("iteration"), int)
    return values if sound else None
