"""The options of a component, read off its constructor's signature.

A component's constructor has two kinds of parameters. Those before the ``*`` are *given* by whoever
builds it (a stage gives its clip, its view, its number of classes). Those after the ``*``, keyword
only, are its *options*: what a spec may set, with type and default as they stand in the signature. Where a
kind gives nothing, parameters before the ``*`` are options too, which a notebook may give by position.
"""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Union

import attrs

_NO_DEFAULT = inspect.Parameter.empty


@attrs.frozen
class Option:
    """One keyword-only parameter of a component's constructor."""

    name: str
    hint: Any
    default: Any = _NO_DEFAULT

    @property
    def required(self) -> bool:
        """Whether a spec must set the option."""
        return self.default is _NO_DEFAULT

    @property
    def type_name(self) -> str:
        """The option's type as a person reads it: ``tuple of int, each at least 1``."""
        return describe(self.hint)


def options_of(cls: type, positional: bool = False) -> dict[str, Option]:
    """The options of ``cls`` by name, in the order of its signature.

    Args:
        cls: a component.
        positional: whether the parameters before the ``*`` are options as well.

    Raises:
        TypeError: an option has no type annotation, or the constructor takes ``*args``/``**kwargs``.
    """
    hints = typing.get_type_hints(_constructor(cls), include_extras=True)
    found: dict[str, Option] = {}
    for parameter in _parameters(cls):
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise TypeError(
                f"{cls.__qualname__}: options must be named in its signature, not taken as *{parameter.name}"
            )
        if parameter.kind is not parameter.KEYWORD_ONLY and not positional:
            continue
        if parameter.name not in hints:
            raise TypeError(f"{cls.__qualname__}: option {parameter.name!r} has no type annotation")
        found[parameter.name] = Option(parameter.name, hints[parameter.name], parameter.default)
    return found


def given_to(cls: type) -> dict[str, bool]:
    """The parameters of ``cls`` that are given by its builder: name to "is required"."""
    return {
        parameter.name: parameter.default is _NO_DEFAULT
        for parameter in _parameters(cls)
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    }


def describe(hint: Any) -> str:
    """A type annotation in words."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return ", ".join([describe(arguments[0]), *map(str, arguments[1:])])
    if origin is Literal:
        return " | ".join(map(repr, arguments))
    if origin in (Union, types.UnionType):
        return " | ".join(map(describe, arguments))
    if origin is tuple:
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return f"list of {_each(arguments[0])}"
        if len(set(arguments)) == 1:
            return f"list of {len(arguments)}: {_each(arguments[0])}"
        return "list of [" + ", ".join(map(describe, arguments)) + "]"
    if origin in (dict, Mapping) and len(arguments) == 2:
        return f"table of {describe(arguments[1])}"
    if origin is not None:
        return f"{origin.__name__} of " + ", ".join(map(describe, arguments))
    if hint in (None, type(None)):
        return "null"
    return _PLAIN_NAMES.get(hint, getattr(hint, "__name__", str(hint)))


_PLAIN_NAMES = {
    int: "int",
    float: "number",
    str: "text",
    bool: "true | false",
    Path: "path",
    tuple: "list",
    dict: "table",
}


def _each(hint: Any) -> str:
    return describe(hint).replace(",", ", each", 1)


def _constructor(cls: type) -> Any:
    return cls.__init__  # type: ignore[misc]  # reading the signature of the class as it is, not calling it


def _parameters(cls: type) -> list[inspect.Parameter]:
    if _constructor(cls) is object.__init__:
        return []
    return list(inspect.signature(_constructor(cls)).parameters.values())[1:]
