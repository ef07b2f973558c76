"""``--set KEY=VALUE``: change a spec's plain data before it is checked.

``KEY`` is a path as error messages print it: ``training.iterations``, ``graph.stages.mid.window``,
``graph.stages.mid.generator.channels``; ``stages.`` is short for ``graph.stages.``. ``VALUE`` is JSON,
a Python literal, or text. Where a component stands, ``VALUE`` is a name, or a call with options:
``stages.mid.view=AreaView`` keeps the options that the new component has too,
``stages.mid.view=AreaView(time=2, space=2)`` sets exactly these (text among them in quotes), and ``null``
removes it. Where a list of components stands, ``VALUE`` is one of them or several in brackets:
``'training.evaluate=[FID, PSD(frames=[1, 8])]'``.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Sequence
from typing import Any

from registry import (
    CLASSIFIERS,
    DATASETS,
    DISCRIMINATORS,
    FEATURES,
    GENERATORS,
    KINDS,
    LOSSES,
    VIEWS,
    InputError,
    Problem,
    Registry,
)
from registry.errors import join

_KIND_AT = {
    "generator": GENERATORS,
    "view": VIEWS,
    "data_view": VIEWS,
    "loss": LOSSES,
    "data": DATASETS,
    "network": CLASSIFIERS,
    "evaluate_features": FEATURES,
}
_LISTS = {"evaluate"}
"""Where several components stand, one after another."""
_OPEN = {"discriminators", "options", "training"}
"""Tables that take keys they do not hold yet. (The experiment's own ``training`` lists all its fields.)"""


def apply_overrides(data: dict[str, Any], settings: Sequence[str]) -> list[str]:
    """Change ``data`` in place by each ``KEY=VALUE``; returns notes on options that a swap dropped.

    Raises:
        InputError: a setting that is no ``KEY=VALUE``, or whose key leads nowhere; all of them at once.
    """
    notes: list[str] = []
    problems: list[Problem] = []
    for setting in settings:
        try:
            notes += _apply(data, setting)
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems)
    return notes + [note for setting in settings for note in _still_set(data, setting, settings)]


def _apply(data: dict[str, Any], setting: str) -> list[str]:
    key, equals, text = setting.partition("=")
    parts = [part for part in re.split(r"[.\[\]]+", key.strip()) if part]
    if not equals or not parts:
        raise InputError.of(f"--set {setting}".strip(), "is no setting", allowed="KEY=VALUE")
    if parts[0] == "stages":
        parts.insert(0, "graph")
    if parts[-1] == "type" and len(parts) > 1:
        parts.pop()
    holder, place, inside = data, "", False
    for part in parts[:-1]:
        inside = inside or _is_component(holder)
        holder, name = _step(holder, part, place, opens=False)
        holder, place = holder[name], join(place, part)
    inside = inside or _is_component(holder)
    holder, name = _step(holder, parts[-1], place, opens=True)
    place = join(place, parts[-1])
    if parts[-1] in _LISTS and not inside:
        holder[name] = component_list(text.strip(), place)
        return []
    kind = _kind_inside(holder, name) if inside else _kind_at(parts)
    if kind is None:
        holder[name] = _value(text)
        return []
    return _swap(holder, name, text.strip(), kind, place)


def _kind_at(parts: list[str]) -> Registry | None:
    """The kind of component that stands at a place of the spec itself."""
    return DISCRIMINATORS if parts[-2:-1] == ["discriminators"] else _KIND_AT.get(parts[-1])


def _kind_inside(options: Any, name: Any) -> Registry | None:
    """The kind of the component that stands in another's ``options`` (or in a list there), if one does."""
    old: Any = options[name] if isinstance(options, list) or name in options else None
    return next((kind for kind in KINDS.values() if _is_component(old) and old["type"] in kind.names()), None)


def _still_set(data: dict[str, Any], setting: str, settings: Sequence[str]) -> list[str]:
    """Notes on stages whose own training keeps a field that ``setting`` set for the experiment, and no other set."""
    table, _, field = setting.partition("=")[0].strip().partition(".")
    stages = data["graph"]["stages"] if table == "training" and "graph" in data else []
    return [
        f"graph.stages.{stage['name']}.training.{field}={stage['training'][field]} stands; set it as well"
        for stage in stages
        if field in stage["training"]
        and not any(f"stages.{stage['name']}.training.{field}=" in other.replace(" ", "") for other in settings)
    ]


def _step(holder: Any, part: str, place: str, *, opens: bool) -> tuple[Any, Any]:
    """The container and the key in it that ``part`` names, one level down from ``holder``."""
    if isinstance(holder, list):
        own = [item.get("name") if isinstance(item, dict) else None for item in holder]
        for index, name in enumerate(own):
            if part in (str(index), name):
                return holder, index
        names = [name if isinstance(name, str) else str(index) for index, name in enumerate(own)]
        raise InputError.unknown(join(place, part), "stage" if place == "graph.stages" else "entry", part, names)
    if _is_component(holder) and part != "options":
        holder = holder["options"]
        if not opens and part not in holder:
            raise InputError.unknown(join(place, part), "option set here", part, holder)
        return holder, part
    if not isinstance(holder, dict):
        raise InputError.of(join(place, part), f"{place} is {json.dumps(holder, default=str)}, nothing is inside it")
    if part not in holder and not (opens and place.rpartition(".")[2] in _OPEN and place != "training"):
        short = ["stages"] if not place and "graph" in holder else []
        raise InputError.unknown(join(place, part), "field", part, [*holder, *short])
    return holder, part


def _swap(holder: Any, name: Any, text: str, kind: Registry, place: str) -> list[str]:
    """Put another component where one stands."""
    if text in ("null", "None"):
        if kind is not DISCRIMINATORS:
            holder[name] = None
        elif name in holder:
            del holder[name]
        else:
            raise InputError.unknown(place, "discriminator", name, holder)
        return []
    component = component_data(text, place)
    old = holder[name] if isinstance(holder, list) else holder.get(name)
    if old is None or not _is_component(old) or "(" in text or text.startswith("{"):
        holder[name] = component
        return []
    new = component["type"]
    known = kind.options(new) if new in kind.names() else old["options"]
    kept = {option: value for option, value in old["options"].items() if option in known}
    holder[name] = {"type": new, "options": kept}
    dropped = [option for option in old["options"] if option not in kept]
    return [f"{place}: {new} has no option {', '.join(dropped)}; left out"] if dropped else []


def component_data(text: str, place: str) -> dict[str, Any]:
    """``NAME``, ``NAME(option=value)`` or JSON as a component's plain data."""
    try:
        if not text.startswith("{"):
            return _called(ast.parse(text, mode="eval").body)
        data = json.loads(text)
        return {"options": {}, **data} if "type" in data else data
    except SyntaxError as error:
        reason = error.msg
    except (ValueError, TypeError) as error:
        reason = str(error)
    what = f"{text!r} is no component ({reason})" if text else "no component is named"
    raise InputError.of(place, what, "NAME, NAME(option=value, ...) or null")


def component_list(text: str, place: str) -> list[dict[str, Any]]:
    """``[NAME, NAME(option=value)]``, ``NAME`` alone, or JSON as the plain data of components."""
    try:
        node = ast.parse(text, mode="eval").body
        if isinstance(node, (ast.List, ast.Tuple)):
            # JSON's own null, true and false are names to Python.
            return [component_data(ast.get_source_segment(text, each) or "", place) for each in node.elts]
    except SyntaxError:
        pass  # said with the text, below
    return [component_data(text, place)]


def _called(node: ast.expr) -> dict[str, Any]:
    """``NAME`` or ``NAME(option=value)``; options may be components in turn."""
    if isinstance(node, ast.Name):
        return {"type": node.id, "options": {}}
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.args:
        options = {word.arg: _literal(word.value) for word in node.keywords if word.arg is not None}
        if len(options) == len(node.keywords):
            return {"type": node.func.id, "options": options}
    raise ValueError("a name, or a call with named options, is expected")


def _literal(node: ast.expr) -> Any:
    if isinstance(node, (ast.List, ast.Tuple)):
        return [_literal(item) for item in node.elts]
    if isinstance(node, (ast.Call, ast.Name)):
        plain = {"true": True, "false": False, "null": None}
        if isinstance(node, ast.Name) and node.id in plain:
            return plain[node.id]
        return _called(node)
    return ast.literal_eval(node)


def _value(text: str) -> Any:
    for parse in (json.loads, ast.literal_eval):
        try:
            value = parse(text)
        except (ValueError, SyntaxError, TypeError):
            continue
        return list(value) if isinstance(value, tuple) else value
    return text


def _is_component(value: Any) -> bool:
    return isinstance(value, dict) and set(value) == {"type", "options"}
