"""Figures on the disk: one JSON line each, with all that was done to measure it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import attrs

from framework.checkpoint import write_whole
from framework.locking import locked
from framework.plain_data import differences
from registry import InputError
from registry.convert import structure, unstructure

FIGURES = "figures.jsonl"


@attrs.frozen(kw_only=True)
class Record:
    """A figure and its protocol."""

    metric: str
    value: float
    interval: tuple[float, float] | None = None
    """Of 95% confidence."""
    label: str | None = attrs.field(default=None)
    """Name of the class that it is of; None is all videos."""
    detail: Mapping[str, Any] = attrs.field(factory=dict)
    protocol: Mapping[str, Any] = attrs.field(factory=dict)

    @property
    def key(self) -> str:
        """What another measurement of the same thing in the same way shares."""
        return json.dumps([self.metric, self.label, self.detail.get("frame"), self.protocol], sort_keys=True)


@attrs.frozen
class Table:
    """Figures of one protocol."""

    protocol: Mapping[str, Any]
    differs: tuple[str, ...]
    """In what the protocol differs from the first table's, a clause each; empty for the first."""
    records: tuple[Record, ...]


def read_figures(path: Path) -> tuple[list[Record], str | None]:
    """The figures in the file ``path``, and a note if its last line was cut short.

    Raises:
        InputError: another line is no figure; it names the file and the line. Or it is no text.
    """
    if not path.is_file():
        return [], None
    records = []
    try:
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    except UnicodeDecodeError as error:
        what = f"is no text (byte {error.start} is not UTF-8)"
        raise InputError.of(str(path), what, "figures as lines of JSON") from None
    for number, line in enumerate(lines, 1):
        try:
            records.append(_structured(_loaded(line), f"{path}, line {number}"))
        except ValueError as error:
            if number == len(lines) and not line.endswith("\n"):
                return records, f"{path}, line {number}: cut short, left out"
            if isinstance(error, InputError):
                raise
            raise InputError.of(f"{path}, line {number}", f"is damaged ({error})", "a figure as JSON") from None
    return records, None


def add_figures(path: Path, records: Iterable[Record]) -> None:
    """Write figures to the file ``path``, in place of those that measured the same in the same way."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path, wait=True):  # between reading and writing nobody else may add any
        kept, _ = read_figures(path)
        found = {record.key: record for record in [*kept, *records]}
        write_whole(path, "".join(json.dumps(as_plain(record), allow_nan=False) + "\n" for record in found.values()))


def tables(records: Sequence[Record]) -> list[Table]:
    """The figures in tables of one protocol each: what is measured in another way does not stand beside."""
    groups: list[tuple[list[Record], list[dict[str, Any]]]] = []
    for record in records:
        shared = _shared(record.protocol)
        fitting = (group for group in groups if all(_agree(shared, other) for other in group[1]))
        group, protocols = next(fitting, ([], []))
        if not group:
            groups.append((group, protocols))
        group.append(record)
        if shared not in protocols:
            protocols.append(shared)
    found: list[Table] = []
    for group, _ in groups:
        protocol = _shared(group[0].protocol)
        protocol["features"] = next((r.protocol["features"] for r in group if r.protocol.get("features")), None)
        differs = tuple(differences(found[0].protocol, protocol)) if found else ()
        found.append(Table(protocol, differs, tuple(group)))
    return found


def as_text(records: Sequence[Record]) -> list[str]:
    """The tables for a terminal."""
    lines: list[str] = []
    for number, table in enumerate(tables(records)):
        if number:
            lines += ["", f"another protocol ({'; '.join(table.differs)}):"]
        rows = [("metric", "value", "95%", "of")] + [_row(record) for record in table.records]
        widths = [max(len(row[column]) for row in rows) for column in range(4)]
        lines += [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
        ]
    return lines


def _row(record: Record) -> tuple[str, str, str, str]:
    name = record.metric if "frame" not in record.detail else f"{record.metric} (frame {record.detail['frame']}), dB"
    if options := record.protocol.get("metric_options"):
        name += f", {options}"
    interval = "" if record.interval is None else "{:.4g} to {:.4g}".format(*record.interval)
    features = record.protocol.get("features")
    random = ", random features" if features and features.get("random") else ""
    return name, f"{record.value:.4g}", interval, (record.label or "all") + random


def _agree(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two protocols say the same, as far as both do: not all metrics need features."""
    apart = () if one.get("features") and other.get("features") else ("features",)
    first, second = ({name: value for name, value in each.items() if name not in apart} for each in (one, other))
    return first == second


def _shared(protocol: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a protocol that figures of different metrics must share to stand in one table."""
    return {name: value for name, value in protocol.items() if name not in ("layer", "interval", "metric_options")}


def as_plain(record: Record) -> dict[str, Any]:
    """The figure as the JSON object that its line holds."""
    plain: dict[str, Any] = unstructure(record)
    plain["class"] = plain.pop("label")
    return plain


def _loaded(line: str) -> Any:
    return json.loads(line, parse_constant=_refuse_constant)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _structured(data: Any, where: str) -> Record:
    if isinstance(data, dict) and "class" in data:
        data["label"] = data.pop("class")
    return structure(data, Record, where)
