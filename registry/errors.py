"""The one form of error for what a user can get wrong.

A :class:`Problem` says what is wrong, where (a path in the spec, an option, a file), what is allowed
and which allowed name is nearest. An :class:`InputError` carries one or many of them, so that all the
errors of a spec can be reported together. Commands print one line per problem and exit with code 2.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

import attrs


@attrs.frozen
class Problem:
    """One thing that is wrong with the user's input; ``str()`` of it is one line."""

    where: str
    """Path in the spec such as ``graph.stages.mid.generator.width``, or a file."""
    what: str
    """What is wrong, as a clause: ``'wdith' is not an option of DVDGenerator``."""
    allowed: str | None = None
    """What may stand there instead."""
    nearest: str | None = None
    """The allowed name that looks most like the one given."""
    who: str | None = None
    """Which of several processes have it, ``rank 3``; None where they need no telling apart."""

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        if self.allowed is not None:
            text += f"; allowed: {self.allowed}"
        if self.nearest is not None:
            text += f"; did you mean '{self.nearest}'?"
        if self.who is not None:
            text = f"{self.who}: {text}"
        return " ".join(text.split())

    def under(self, prefix: str) -> Problem:
        """The same problem seen from one level further out."""
        return attrs.evolve(self, where=join(prefix, self.where))


class InputError(ValueError):
    """What the user gave cannot be used. ``str()`` of it is one line per problem.

    Components raise it with a path relative to themselves (usually the name of an option);
    whoever built the component puts its own path in front with :meth:`under`.
    """

    def __init__(self, problems: Problem | Iterable[Problem] | str) -> None:
        if isinstance(problems, str):
            # torch re-raises a loader worker's error as its class called with the whole traceback as text.
            said = problems.rpartition(f"{type(self).__module__}.{type(self).__qualname__}: ")[2]
            problems = [Problem("", line) for line in said.splitlines()]
        self.problems = (problems,) if isinstance(problems, Problem) else tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))

    def __reduce__(self) -> tuple[object, ...]:
        """Errors cross process boundaries with their problems; an exception's own way would lose them."""
        return _again, (type(self), self.problems)

    @classmethod
    def of(cls, where: str, what: str, allowed: str | None = None) -> InputError:
        """An error with the single problem described."""
        return cls(Problem(where, what, allowed))

    @classmethod
    def unknown(cls, where: str, kind: str, name: object, allowed: Iterable[str]) -> InputError:
        """``name`` is none of ``allowed``; says so with the nearest match."""
        return cls(unknown(where, kind, name, allowed))

    def under(self, prefix: str) -> InputError:
        """The same error seen from one level further out."""
        return InputError(problem.under(prefix) for problem in self.problems)


class AgreedError(InputError):
    """An error that every one of the processes that train together raises, so that one may speak for all."""

    def under(self, prefix: str) -> AgreedError:
        """The same error seen from one level further out."""
        return AgreedError(problem.under(prefix) for problem in self.problems)


class Stopped(Exception):  # noqa: N818  # nothing went wrong
    """The command ends here, in all processes that train together alike, and says why in one line.

    Args:
        code: exit code.
        line: for a person; empty where it has been said.
        own: one process alone raises it, and the others have not been told.
    """

    def __init__(self, code: int, line: str, own: bool = False) -> None:
        super().__init__(code, line, own)
        self.code, self.line, self.own = code, line, own

    def __str__(self) -> str:
        return self.line


def system_problem(error: OSError) -> Problem:
    """What the system refused, with its path as far as the system says it."""
    return Problem(str(error.filename or ""), error.strerror or str(error))


def one_line(error: BaseException) -> str:
    """An error that is not the user's, in one line: its class and how its text begins."""
    return ": ".join([type(error).__name__, *str(error).strip().splitlines()[:1]])


def _again(cls: type[InputError], problems: tuple[Problem, ...]) -> InputError:
    error = cls.__new__(cls)
    InputError.__init__(error, problems)
    return error


def unknown(where: str, kind: str, name: object, allowed: Iterable[str]) -> Problem:
    """The problem of a ``kind`` of thing called ``name`` that is none of ``allowed``."""
    names = sorted(allowed)
    return Problem(
        where,
        f"no {kind} is called {name!r}",
        allowed=", ".join(names) or "none",
        nearest=nearest(str(name), names),
    )


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The one of ``names`` most like ``name``, or None when none is; case and the dashes of options do not count."""
    by_key = {_key(candidate): candidate for candidate in names}
    key = _key(name)
    # Letters in another order are the likeliest slip, which difflib rates no higher than others.
    found = [each for each in by_key if sorted(each) == sorted(key)] or difflib.get_close_matches(
        key, by_key, n=1, cutoff=0.5
    )
    return by_key[found[0]] if found else None


def _key(name: str) -> str:
    return name.lower().lstrip("-")


def join(*parts: str) -> str:
    """Parts of a spec path with dots between: ``join("a", "", "b[0]") == "a.b[0]"``."""
    path = ""
    for part in parts:
        if part:
            path += part if not path or part.startswith("[") else f".{part}"
    return path
