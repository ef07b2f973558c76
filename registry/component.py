"""A component named in a spec: the name it is registered under and its options. Plain data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

import attrs


def freeze(value: Any) -> Any:
    """``value`` with lists turned into tuples and paths into text, so that a spec equals its JSON round trip."""
    if isinstance(value, (list, tuple)):
        return tuple(freeze(item) for item in value)
    if isinstance(value, Mapping):
        return {key: freeze(item) for key, item in value.items()}
    if isinstance(value, PurePath):
        return str(value)
    return value


@attrs.frozen
class Component:
    """A registered component by name, with the options that differ from its defaults.

    Options may hold components in turn (a composed view holds its parts).
    """

    type: str
    options: Mapping[str, Any] = attrs.field(factory=dict, converter=freeze)

    def __str__(self) -> str:
        options = ", ".join(f"{name}={show(value)}" for name, value in self.options.items())
        return f"{self.type}({options})"


def use(name: str, /, **options: Any) -> Component:
    """Name a component in a spec: ``use("DVDGenerator", channels=96)``."""
    return Component(name, options)


def show(value: Any) -> str:
    """A value of a spec as a person writes it: ``[1, 2]``, ``'text'``, ``NearestView(time=2)``."""
    if isinstance(value, Component):
        return str(value)
    if isinstance(value, tuple):
        return "[" + ", ".join(map(show, value)) + "]"
    return repr(value)
