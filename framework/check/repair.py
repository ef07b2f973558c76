"""Structure a spec that has type errors as far as it goes, so that its other errors are found too."""

from __future__ import annotations

import copy
import re
from typing import Any, TypeVar

import attrs

from framework.check.findings import Findings
from framework.experiment import Experiment
from registry import InputError
from registry.convert import structure

S = TypeVar("S")

_ATTEMPTS = 3
_STAND_IN: dict[str, Any] = {
    "clip": {"frames": 1, "height": 1, "width": 1},
    "generator": {"type": "", "options": {}},
    "data": {"type": "", "options": {}},
    "network": {"type": "", "options": {}},
    "name": "unnamed",
}
"""For required fields that cannot be used. The path stays marked, so nothing is concluded from them."""


def is_stand_in(name: str) -> bool:
    """Whether ``name`` stands for a stage's name that could not be used."""
    return name.startswith("[")


def structure_what_can_be(
    data: dict[str, Any],
    kind: type[S] = Experiment,  # type: ignore[assignment]  # mypy knows no such default
) -> tuple[S | None, Findings]:
    """The experiment in ``data`` with unusable fields left at their defaults, and the type errors found.

    No experiment is returned where too little of it is there to go on.
    """
    findings = Findings()
    data = copy.deepcopy(data)
    for _ in range(_ATTEMPTS):
        try:
            return structure(data, kind), findings
        except InputError as error:
            known = {str(problem) for problem in findings.problems}
            findings.problems += [problem for problem in error.problems if str(problem) not in known]
            for problem in error.problems:
                _repair(data, problem.where)
    return None, findings


def _repair(data: Any, path: str) -> None:
    """Remove what stands at ``path``, or put the stand-in of its enclosing required field there."""
    parts = [part for part in re.split(r"[.\[\]]+", path) if part]
    trail: list[tuple[Any, Any]] = []
    for part in parts:
        key = _key(data, part)
        trail.append((data, key))
        if key is None or not isinstance(data, (dict, list)):
            break
        data = data[key] if isinstance(data, list) or key in data else None
    for (holder, key), part in reversed(list(zip(trail, parts, strict=False))):
        if part == "name" and len(parts) > 1:
            holder[key] = f"[{parts[-2]}]"  # as the paths of errors have it, which are by index then
            return
        if part in _STAND_IN and isinstance(holder, dict):
            holder[key] = copy.deepcopy(_STAND_IN[part])
            return
        if isinstance(holder, dict) and key in holder and not _required(part):
            del holder[key]
            return


def _key(holder: Any, part: str) -> Any:
    if not isinstance(holder, list):
        return part
    for index, item in enumerate(holder):
        if part == str(index) or (isinstance(item, dict) and item.get("name") == part):
            return index
    return None


def _required(name: str) -> bool:
    """Whether a field of that name must be there; fields of a clip go with the whole clip."""
    return name in {"frames", "height", "width", "graph", "stages"} | {
        field.name for field in attrs.fields(Experiment) if field.default is attrs.NOTHING
    }
