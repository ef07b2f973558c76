"""What a check has found so far, and which parts of the spec it may still rely on."""

from __future__ import annotations

import attrs

from registry import InputError, Problem


@attrs.define
class Findings:
    """Problems by path; a later step asks :meth:`sound` before it builds on a part of the spec."""

    problems: list[Problem] = attrs.field(factory=list)

    def add(self, where: str, what: str, allowed: str | None = None) -> None:
        """Note one problem."""
        self.problems.append(Problem(where, what, allowed))

    def take(self, error: InputError) -> None:
        """Note an error's problems."""
        self.problems += error.problems

    def sound(self, *paths: str) -> bool:
        """Whether no problem was found at, inside or around any of ``paths``."""
        return not any(
            _inside(problem.where, path) or _inside(path, problem.where) for problem in self.problems for path in paths
        )


def _inside(path: str, outer: str) -> bool:
    return path == outer or path.startswith((f"{outer}.", f"{outer}["))
