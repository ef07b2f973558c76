"""A registry of one kind of component: names to classes, their options checked before anything is built."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import attrs
from mmengine.registry import Registry as MMRegistry

from registry.cattrs_errors import MISSING
from registry.component import Component
from registry.convert import has_values, register_type, structure
from registry.errors import InputError, Problem, join, nearest, unknown
from registry.options import Option, given_to, options_of

C = TypeVar("C", bound=type)


class Registry:
    """The components of one kind, on top of an MMEngine registry.

    Args:
        kind: what one of them is called, in the singular: ``"generator"``.
        gives: names of the constructor parameters that the builder gives (those before the ``*``).
    """

    def __init__(self, kind: str, gives: tuple[str, ...] = ()) -> None:
        self.kind = kind
        self.gives = gives
        self._base: type | None = None
        self._classes = MMRegistry(kind)

    def base(self, cls: C) -> C:
        """Class decorator: ``cls`` is the interface that every component of this kind implements."""
        self._base = cls
        register_type(cls, self._nested)
        return cls

    def register(self, cls: C) -> C:
        """Class decorator: make ``cls`` nameable in specs under its own name.

        Raises:
            TypeError: ``cls`` does not implement the kind's interface, an option has no type or one that no
                spec can hold, or a parameter before the ``*`` is none that is given (where the kind gives any).
            InputError: another class is registered under that name.
        """
        name = cls.__name__
        if self._base is not None and not issubclass(cls, self._base):
            raise TypeError(f"{self.kind} {name} must derive from {self._base.__qualname__}")
        if self.gives and (strange := set(given_to(cls)) - set(self.gives)):
            raise TypeError(
                f"{self.kind} {name}: parameter {sorted(strange)[0]!r} is none that a {self.kind} is given "
                f"({', '.join(self.gives)}); an option stands after a '*' in the signature"
            )
        for option in self._options_of(cls).values():
            if not has_values(option.hint):
                what = f"option {option.name!r} is a {option.type_name}, which a spec cannot hold"
                raise TypeError(f"{self.kind} {name}: {what}")
        known = self._classes.module_dict.get(name)
        if known is not None and not _same_source(known, cls):
            raise InputError.of(
                name, f"two {self.kind}s are registered under this name: {_place(known)} and {_place(cls)}"
            )
        self._classes.register_module(name=name, module=cls, force=True)
        return cls

    def names(self) -> list[str]:
        """The names that a spec may use, sorted."""
        return sorted(self._classes.module_dict)

    def find(self, name: str, where: str = "") -> type:
        """The class registered as ``name``.

        Raises:
            InputError: there is none; the error lists the names there are.
        """
        if name not in self._classes.module_dict:
            raise InputError(unknown(where, self.kind, name, self.names()))
        cls: type = self._classes.module_dict[name]
        return cls

    def options(self, name: str) -> dict[str, Option]:
        """The options of the component called ``name``."""
        return self._options_of(self.find(name))

    def check(self, component: Component, where: str = "") -> list[Problem]:
        """Everything wrong with the name and the options of ``component``, nested components included."""
        try:
            self._settle(component, where)
        except InputError as error:
            return list(error.problems)
        return []

    def build(self, component: Component, where: str = "", **given: Any) -> Any:
        """Construct ``component``; it takes those of ``given`` that its signature names.

        Raises:
            InputError: an unknown name or option, a wrong type, or an option that the component itself
                refuses; paths start at ``where``.
        """
        cls = self.find(component.type, where)
        settled = self._settle(component, where)
        taken = {name: given[name] for name in given_to(cls) if name in given}
        try:
            return cls(**taken, **_build_nested(settled))
        except InputError as error:
            raise error.under(where) from None

    def _options_of(self, cls: type) -> dict[str, Option]:
        return options_of(cls, positional=not self.gives)

    def _nested(self, value: Any, hint: Any) -> _Nested:
        """What an option holds whose annotation is this kind's interface: a component, checked."""
        component = structure(value, Component)
        if problems := self.check(component):
            raise InputError(problems)
        return _Nested(self, component)

    def _settle(self, component: Component, where: str) -> dict[str, Any]:
        """The options of ``component`` in their declared types; nested components stay components."""
        options = self._options_of(self.find(component.type, where))
        problems: list[Problem] = []
        settled: dict[str, Any] = {}
        for name, value in component.options.items():
            place = join(where, name)
            if name not in options:
                what = f"{name!r} is not an option of {component.type}"
                problems.append(Problem(place, what, ", ".join(options) or "none", nearest(name, options)))
                continue
            try:
                settled[name] = structure(value, options[name].hint, place)
            except InputError as error:
                problems += error.problems
        problems += [
            Problem(join(where, option.name), f"{MISSING}: {component.type} needs it", option.type_name)
            for option in options.values()
            if option.required and option.name not in component.options
        ]
        if problems:
            raise InputError(problems)
        return settled


@attrs.frozen
class _Nested:
    """A component inside another's options, checked but not built yet."""

    kind: Registry
    component: Component


def _build_nested(value: Any, where: str = "") -> Any:
    """Settled options with each nested component built."""
    if isinstance(value, _Nested):
        return value.kind.build(value.component, where)
    if isinstance(value, Mapping):
        return {name: _build_nested(item, join(where, name)) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_build_nested(item, f"{where}[{index}]") for index, item in enumerate(value))
    return value


def _same_source(one: type, other: type) -> bool:
    """Whether both are the same class, perhaps from a module that was loaded twice."""
    return _place(one) == _place(other)


def _place(cls: type) -> str:
    lines: Callable[[Any], tuple[list[str], int]] = inspect.getsourcelines
    try:
        return f"{inspect.getsourcefile(cls)}:{lines(cls)[1]}"
    except (OSError, TypeError):
        return f"{cls.__module__}.{cls.__qualname__}"
