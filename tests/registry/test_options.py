"""Options read off signatures: names, types in words, defaults."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Optional

import pytest

from registry import Fraction, NonNegative, Positive, PositiveFloat, Range
from registry.options import describe, given_to, options_of


class Documented:
    """Given parameters before the star, options after it."""

    def __init__(self, clip, view=None, *, width: Positive = 96, path: str, names: tuple[str, ...] = ("a",)):
        pass


class WithoutConstructor:
    """Takes nothing."""


def test_options_are_the_keyword_only_parameters():
    """In the signature's order, with hint and default; those without a default are required."""
    options = options_of(Documented)
    assert list(options) == ["width", "path", "names"]
    assert [option.required for option in options.values()] == [False, True, False]
    assert options["width"].default == 96
    assert options["names"].default == ("a",)
    assert options["width"].type_name == "int, at least 1"


def test_given_parameters_are_those_before_the_star():
    """Each with whether it must be given."""
    assert given_to(Documented) == {"clip": True, "view": False}


def test_class_without_constructor():
    """Has no options and is given nothing."""
    assert options_of(WithoutConstructor) == {}
    assert given_to(WithoutConstructor) == {}


def test_inherited_signature():
    """A subclass that adds no constructor has its parent's options."""

    class Child(Documented):
        pass

    assert options_of(Child) == options_of(Documented)


@pytest.mark.parametrize(
    ("hint", "words"),
    [
        (int, "int"),
        (float, "number"),
        (str, "text"),
        (bool, "true | false"),
        (Path, "path"),
        (Any, "Any"),
        (tuple, "list"),
        (None, "null"),
        (Positive, "int, at least 1"),
        (NonNegative, "int, at least 0"),
        (PositiveFloat, "number, more than 0"),
        (Fraction, "number, at least 0 and at most 1"),
        (Annotated[int, Range(high=7)], "int, at most 7"),
        (Literal["a", 1], "'a' | 1"),
        (int | None, "int | null"),
        (Optional[Positive], "int, at least 1 | null"),  # noqa: UP045  # the older spelling means the same
        (tuple[int, ...], "list of int"),
        (tuple[Positive, ...], "list of int, each at least 1"),
        (tuple[Fraction, Fraction], "list of 2: number, each at least 0 and at most 1"),
        (tuple[int, str], "list of [int, text]"),
        (list[int], "list of int"),
        (dict[str, int], "table of int"),
        (Mapping[str, Positive], "table of int, at least 1"),
    ],
)
def test_types_in_words(hint, words):
    """Types are described as a person reads them."""
    assert describe(hint) == words


@pytest.mark.parametrize("arguments", ["*args", "**kwargs"])
def test_unnamed_options_are_refused(arguments):
    """A constructor that takes anything says nothing about its options."""
    names = {}
    exec(f"class Open:\n    def __init__(self, {arguments}): pass\n", names)  # noqa: S102  # one class per parameter
    with pytest.raises(TypeError, match="Open: options must be named"):
        options_of(names["Open"])


def test_untyped_option_is_refused():
    """An option without annotation cannot be checked."""

    class Untyped:
        def __init__(self, *, width=3):
            pass

    with pytest.raises(TypeError, match=r"Untyped: option 'width' has no type annotation"):
        options_of(Untyped)


@pytest.mark.parametrize(
    ("span", "inside", "outside"),
    [
        (Range(1), [1, 2, 1e9], [0, -1, 0.999]),
        (Range(0, 1), [0, 0.5, 1], [-0.001, 1.001]),
        (Range(0, open_low=True), [1e-12, 5], [0, -1]),
        (Range(high=3), [-100, 3], [3.5]),
        (Range(0, 1, open_high=True), [0, 0.999], [1, 1.5, -0.1]),
        (Range(high=3, open_high=True), [-100, 2.9], [3, 3.5]),
        (Range(), [0, -5], []),
    ],
)
def test_ranges(span, inside, outside):
    """Bounds belong to a range unless it is open there."""
    assert all(value in span for value in inside)
    assert not any(value in span for value in outside)
