"""What a check has found so far, and which parts of the spec it may still rely on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import attrs

from registry import InputError, Problem

T = TypeVar("T")


@attrs.define
class Findings:
    """Problems by path; a later step asks :meth:`sound` before it builds on a part of the spec."""

    problems: list[Problem] = attrs.field(factory=list)
    cause: Exception | None = None
    """The first error of a component that was no :class:`InputError`, for ``--debug``."""
    _doubtful: list[str] = attrs.field(factory=list)

    def add(self, where: str, what: str, allowed: str | None = None) -> None:
        """Note one problem."""
        self.problems.append(Problem(where, what, allowed))

    def take(self, error: InputError) -> None:
        """Note an error's problems."""
        self.problems += error.problems

    def doubt(self, path: str) -> None:
        """Rely no more on ``path``, though what is wrong is noted elsewhere."""
        self._doubtful.append(path)

    def sound(self, *paths: str) -> bool:
        """Whether no problem was found at, inside or around any of ``paths``."""
        marked = [*(problem.where for problem in self.problems), *self._doubtful]
        return not any(_inside(mark, path) or _inside(path, mark) for mark in marked for path in paths)

    def attempt(self, where: str, make: Callable[[], T], given: Mapping[str, str] | None = None) -> T | None:
        """The result of ``make``, or None with its failure noted, under ``where`` unless it says so itself.

        ``given`` says from which fields of the spec the component at ``where`` is given its parameters; what it
        has against one of them is noted at that field.
        """
        try:
            return make()
        except InputError as error:
            if isinstance(error.__cause__, Exception):
                self.cause = self.cause or error.__cause__
            own = all(_inside(problem.where, where) for problem in error.problems)
            moves = {f"{where}.{name}": field for name, field in (given or {}).items()}
            self.problems += [_moved(problem, moves) for problem in (error if own else error.under(where)).problems]
        except Exception as error:  # noqa: BLE001  # a component of the user's own may fail in any way
            self.cause = self.cause or error
            self.add(where, f"fails with {type(error).__name__}: {next(iter(str(error).splitlines()), '(no message)')}")
        return None


def _moved(problem: Problem, moves: Mapping[str, str]) -> Problem:
    """The problem at the place that ``moves`` names for its own, if any."""
    for place, field in moves.items():
        if _inside(problem.where, place):
            return attrs.evolve(problem, where=field + problem.where.removeprefix(place))
    return problem


def _inside(path: str, outer: str) -> bool:
    return path == outer or path.startswith((f"{outer}.", f"{outer}["))
