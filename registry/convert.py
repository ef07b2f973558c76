"""Strict conversion between specs and plain data, reporting every error at once with its path.

cattrs does the walking. Its stock converter turns 3.7 into 3, True into 1 and "5" into 5; the hooks
here refuse instead. ``unstructure`` gives JSON data; ``structure`` is its inverse.
"""

from __future__ import annotations

import collections.abc
import math
import types
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union

import attrs
import cattrs
from cattrs.errors import StructureHandlerNotFoundError
from cattrs.gen import make_dict_structure_fn

from registry.cattrs_errors import REFUSALS, problems_of
from registry.component import Component, show
from registry.errors import InputError, Problem, nearest
from registry.options import describe
from registry.types import Range

T = TypeVar("T")


def structure(data: Any, hint: type[T], where: str = "") -> T:
    """``data`` as a ``hint``.

    Raises:
        InputError: with every problem found, each under ``where``.
    """
    try:
        return _converter.structure(data, hint)
    except REFUSALS as error:
        problems = [problem.under(where) for problem in problems_of(error)]
        raise InputError(problems) from None


def unstructure(value: Any) -> Any:
    """``value`` (attrs objects, components, tuples, paths) as JSON data: dicts, lists and plain values."""
    if isinstance(value, Component):
        options = {name: unstructure(option) for name, option in value.options.items()}
        return {"type": value.type, "options": options}
    if attrs.has(type(value)):
        return {
            field.name: unstructure(getattr(value, field.name)) for field in attrs.fields(type(value)) if field.init
        }
    if isinstance(value, Mapping):
        return {key: unstructure(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [unstructure(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    return value


def restore(value: Any) -> Any:
    """Option data with each ``{"type": ..., "options": {...}}`` in it turned back into a component."""
    if isinstance(value, Mapping):
        if set(value) == {"type", "options"}:
            return Component(value["type"], {name: restore(item) for name, item in value["options"].items()})
        return {key: restore(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return tuple(restore(item) for item in value)
    return value


def register_type(hint: type, hook: Callable[[Any, Any], Any]) -> None:
    """Let ``hook(value, hint)`` structure whatever an annotation says is a ``hint``."""
    _converter.register_structure_hook(hint, hook)


def has_values(hint: Any) -> bool:
    """Whether a spec can hold a value of the annotation ``hint``."""
    if typing.get_origin(hint) is Literal or hint in (Any, None, type(None), Ellipsis):
        return True
    if typing.get_origin(hint) is Annotated:
        return has_values(typing.get_args(hint)[0])
    if not all(map(has_values, typing.get_args(hint))):
        return False
    try:
        _converter.get_structure_hook(hint)
    except StructureHandlerNotFoundError:
        return False
    return True


def _refuse(value: Any, hint: Any) -> InputError:
    return InputError(Problem("", f"{_show(value)} is not allowed", allowed=describe(hint)))


def _show(value: Any) -> str:
    text = show(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _structure_int(value: Any, hint: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise _refuse(value, hint)
    return value


def _structure_float(value: Any, hint: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise _refuse(value, hint)
    return float(value)


def _structure_exact(value: Any, hint: Any) -> Any:
    if type(value) is not hint:
        raise _refuse(value, hint)
    return value


def _structure_path(value: Any, hint: Any) -> Path:
    if not isinstance(value, (str, Path)):
        raise _refuse(value, hint)
    return Path(value)


def _structure_literal(value: Any, hint: Any) -> Any:
    for allowed in typing.get_args(hint):
        if value == allowed and type(value) is type(allowed):
            return value
    raise InputError(
        Problem(
            "",
            f"{_show(value)} is not allowed",
            allowed=describe(hint),
            nearest=nearest(value, map(str, typing.get_args(hint))) if isinstance(value, str) else None,
        )
    )


def _structure_union(value: Any, hint: Any) -> Any:
    members = typing.get_args(hint)
    if value is None and type(None) in members:
        return None
    members = tuple(member for member in members if member is not type(None))
    if len(members) == 1:
        return _structure_optional(value, members[0], hint)
    for member in members:
        try:
            return _converter.structure(value, member)
        except REFUSALS:
            continue
    raise _refuse(value, hint)


def _structure_optional(value: Any, inner: Any, hint: Any) -> Any:
    """``value``, which is not None, as an ``inner``; where ``value`` itself is wrong, None is allowed too."""
    try:
        return _converter.structure(value, inner)
    except InputError as error:
        allowed = describe(inner)
        raise InputError(
            attrs.evolve(problem, allowed=describe(hint))
            if (problem.where, problem.allowed) == ("", allowed)
            else problem
            for problem in error.problems
        ) from None


def _structure_annotated(value: Any, hint: Any) -> Any:
    inner, *notes = typing.get_args(hint)
    try:
        result = _converter.structure(value, inner)
    except InputError:
        raise _refuse(value, hint) from None
    for note in notes:
        if isinstance(note, Range) and result not in note:
            raise _refuse(value, hint)
    return result


def _structure_tuple(value: Any, hint: Any) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        raise _refuse(value, hint)
    members = typing.get_args(hint) or (Any, ...)
    if not (len(members) == 2 and members[1] is Ellipsis):
        if len(value) != len(members):
            raise _refuse(value, hint)
        return tuple(_each(zip(value, members, strict=True)))
    return tuple(_each((item, members[0]) for item in value))


def _structure_list(value: Any, hint: Any) -> list[Any]:
    (inner,) = typing.get_args(hint) or (Any,)
    return list(_structure_tuple(value, types.GenericAlias(tuple, (inner, ...))))


def _each(pairs: Any) -> list[Any]:
    """Every pair's value structured, all the problems together under their indices."""
    results: list[Any] = []
    problems: list[Problem] = []
    for index, (item, hint) in enumerate(pairs):
        try:
            results.append(_converter.structure(item, hint))
        except REFUSALS as error:
            name = item.get("name") if isinstance(item, Mapping) else getattr(item, "name", None)
            place = name if isinstance(name, str) and name else f"[{index}]"
            problems += [problem.under(place) for problem in problems_of(error)]
    if problems:
        raise InputError(problems)
    return results


def _structure_mapping(value: Any, hint: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise _refuse(value, hint)
    arguments = typing.get_args(hint)
    inner = arguments[1] if len(arguments) == 2 else Any
    results: dict[str, Any] = {}
    problems: list[Problem] = []
    for key, item in value.items():
        try:
            results[key] = _converter.structure(item, inner)
        except REFUSALS as error:
            problems += [problem.under(key) for problem in problems_of(error)]
    if problems:
        raise InputError(problems)
    return results


def _structure_component(value: Any, hint: Any) -> Component:
    if isinstance(value, Component):
        return value
    if not isinstance(value, Mapping) or set(value) - {"type", "options"} or not isinstance(value.get("type"), str):
        raise InputError(Problem("", f"{_show(value)} is not a component", allowed='use("NAME", option=value, ...)'))
    options = value.get("options", {})
    if not isinstance(options, Mapping):
        raise InputError(Problem("options", f"{_show(options)} is not a table of options"))
    return Component(value["type"], {name: restore(item) for name, item in options.items()})


def _structure_attrs(cls: type) -> Callable[[Any, Any], Any]:
    walk: Callable[[Any, Any], Any] = make_dict_structure_fn(
        cls, _converter, _cattrs_forbid_extra_keys=True, _cattrs_detailed_validation=True
    )

    def hook(value: Any, hint: Any) -> Any:
        if isinstance(value, cls):
            value = {field.name: getattr(value, field.name) for field in attrs.fields(cls) if field.init}
        if not isinstance(value, Mapping):
            raise InputError(Problem("", f"{_show(value)} is not a {cls.__name__}"))
        return walk(dict(value), hint)

    return hook


def _hook(matches: Callable[[Any], bool], structure_one: Callable[[Any, Any], Any]) -> None:
    _converter.register_structure_hook_func(matches, structure_one)


_converter = cattrs.Converter(detailed_validation=True, forbid_extra_keys=True)
_converter.register_structure_hook(int, _structure_int)
_converter.register_structure_hook(float, _structure_float)
_converter.register_structure_hook(str, _structure_exact)
_converter.register_structure_hook(bool, _structure_exact)
_converter.register_structure_hook(Path, _structure_path)
_converter.register_structure_hook_factory(lambda hint: isinstance(hint, type) and attrs.has(hint), _structure_attrs)
_converter.register_structure_hook(Component, _structure_component)
_hook(lambda hint: typing.get_origin(hint) is Literal, _structure_literal)
_hook(lambda hint: typing.get_origin(hint) in (Union, types.UnionType), _structure_union)
_hook(lambda hint: tuple in (hint, typing.get_origin(hint)), _structure_tuple)
_hook(lambda hint: list in (hint, typing.get_origin(hint)), _structure_list)
_hook(lambda hint: not {dict, collections.abc.Mapping}.isdisjoint({hint, typing.get_origin(hint)}), _structure_mapping)
_hook(lambda hint: typing.get_origin(hint) is Annotated, _structure_annotated)
