"""What cattrs' errors say, as problems with their paths: one for each thing that a user can put right."""

from __future__ import annotations

import attrs
from cattrs.errors import (
    AttributeValidationNote,
    ClassValidationError,
    ForbiddenExtraKeysError,
    IterableValidationError,
    IterableValidationNote,
)

from registry.errors import InputError, Problem, nearest

MISSING = "is missing"
"""What is said of a field that has no default and no value."""

REFUSALS = (InputError, ClassValidationError, IterableValidationError)
"""What a conversion raises of its own accord; anything else is a fault of the program."""


def problems_of(error: BaseException) -> list[Problem]:
    """The problems inside an error of cattrs or of a hook, their paths relative to where it was raised."""
    if isinstance(error, InputError):
        return list(error.problems)
    if isinstance(error, (ClassValidationError, IterableValidationError)):
        noted, rest = error.group_exceptions()
        found = [problem.under(_place(note)) for inner, note in noted for problem in _inner_problems(inner)]
        return found + [problem for inner in rest for problem in _inner_problems(inner)]
    raise error


def _place(note: AttributeValidationNote | IterableValidationNote) -> str:
    return note.name if isinstance(note, AttributeValidationNote) else f"[{note.index}]"


def _inner_problems(error: BaseException) -> list[Problem]:
    if isinstance(error, KeyError):
        return [Problem("", MISSING)]
    if isinstance(error, ForbiddenExtraKeysError):
        names = [field.name for field in attrs.fields(error.cl) if field.init]
        return [
            Problem(
                str(key),
                f"{key!r} is not a field of {error.cl.__name__}",
                allowed=", ".join(names),
                nearest=nearest(str(key), names),
            )
            for key in sorted(error.extra_fields)
        ]
    return problems_of(error)
