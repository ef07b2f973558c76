"""What a caller may ask a dataset for: numbers of the right kind and range, and names that there are."""

from __future__ import annotations

import operator
from collections.abc import Iterable

from registry import InputError
from registry.errors import Problem, nearest


class NoSuchError(InputError, IndexError):
    """There is no such clip, level or frame."""


def whole(name: str, value: object, allowed: str, least: int | None = None) -> int:
    """``value`` as an int.

    Args:
        name: of the argument.
        value: an int, or what Python takes for one, such as NumPy's; no bool.
        allowed: the numbers that may stand there, for people.
        least: the smallest of them, if that is to be checked.

    Raises:
        InputError: it is something else, or smaller.
    """
    if type(value) is int:  # nearly always, and this is asked for every window
        number = value
    else:
        try:
            if isinstance(value, bool):
                raise TypeError
            number = operator.index(value)  # type: ignore[arg-type]  # that it may have none is what is asked here
        except TypeError:
            raise InputError.of(name, f"{value!r} is not a whole number", allowed) from None
    if least is not None and number < least:
        raise InputError.of(name, f"{number} is not allowed", allowed)
    return number


def one_of(name: str, value: object, names: Iterable[str]) -> None:
    """Refuse a ``value`` that is none of ``names``.

    Raises:
        InputError: it is none of them.
    """
    names = tuple(names)
    if not isinstance(value, str) or value not in names:
        raise InputError(Problem(name, f"{value!r} is not allowed", ", ".join(names), nearest(str(value), names)))


def level_number(level: object, views: tuple[str, ...]) -> int:
    """``level`` as a number among the levels that hold ``views``.

    Raises:
        InputError: it is no number.
        NoSuchError: there is no such level.
    """
    if type(level) is int and 0 <= level < len(views):  # nearly always, and this is asked for every window
        return level
    allowed = ", ".join(f"{number} ({view or 'the frames as they are'})" for number, view in enumerate(views))
    if isinstance(level, str):
        view = nearest(level, [view for view in views if view])
        found = None if view is None else str(views.index(view))
        raise InputError(Problem("level", f"{level!r} is not a whole number", allowed, found))
    number = whole("level", level, allowed)
    if not 0 <= number < len(views):
        raise NoSuchError.of("", f"level {number} is none of the store's {len(views)} levels", allowed)
    return number
