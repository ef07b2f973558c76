"""Strict conversion: nothing is coerced, everything wrong is reported at once, and JSON comes back as it went."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry import Component, Fraction, InputError, NonNegative, Positive, PositiveFloat, ProperFraction, Range, use
from registry.convert import has_values, structure, unstructure


@attrs.frozen
class Point:
    """Two fields, one of them with a range."""

    x: int
    y: Positive = 1


@attrs.frozen
class Shape:
    """Everything a spec may hold."""

    name: str
    points: tuple[Point, ...] = ()
    scale: PositiveFloat = 1.0
    closed: bool = False
    centre: Point | None = None
    colour: Literal["red", "blue"] = "red"
    tags: Mapping[str, int] = attrs.field(factory=dict)
    part: Component | None = None


def problems(data, hint, where=""):
    """The lines of the error that structuring ``data`` gives."""
    with pytest.raises(InputError) as caught:
        structure(data, hint, where)
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("value", "hint", "words"),
    [
        (3.7, int, "3.7 is not allowed; allowed: int"),
        (3.0, int, "3.0 is not allowed; allowed: int"),
        (True, int, "True is not allowed; allowed: int"),
        ("5", int, "'5' is not allowed; allowed: int"),
        (None, int, "None is not allowed; allowed: int"),
        (True, float, "True is not allowed; allowed: number"),
        ("5", float, "'5' is not allowed; allowed: number"),
        (math.nan, float, "nan is not allowed; allowed: number"),
        (math.inf, float, "inf is not allowed; allowed: number"),
        (5, str, "5 is not allowed; allowed: text"),
        (b"a", str, "b'a' is not allowed; allowed: text"),
        (1, bool, "1 is not allowed; allowed: true | false"),
        ("true", bool, "'true' is not allowed; allowed: true | false"),
        (3, Path, "3 is not allowed; allowed: path"),
        (0, Positive, "0 is not allowed; allowed: int, at least 1"),
        (1.5, Positive, "1.5 is not allowed; allowed: int, at least 1"),
        (-1, NonNegative, "-1 is not allowed; allowed: int, at least 0"),
        (0, PositiveFloat, "0 is not allowed; allowed: number, more than 0"),
        (1.01, Fraction, "1.01 is not allowed; allowed: number, at least 0 and at most 1"),
        (1.0, ProperFraction, "1.0 is not allowed; allowed: number, at least 0 and less than 1"),
        (0, int | None, None),
        (0, Positive | None, "0 is not allowed; allowed: int, at least 1 | null"),
        (2.5, int | str, "2.5 is not allowed; allowed: int | text"),
        ("gren", Literal["red", "green"], "'gren' is not allowed; allowed: 'red' | 'green'; did you mean 'green'?"),
        (True, Literal[1, 2], "True is not allowed; allowed: 1 | 2"),
        ("abc", tuple[str, ...], "'abc' is not allowed; allowed: list of text"),
        ("abc", list[str], "'abc' is not allowed; allowed: list of text"),
        ({"a": 1}, tuple[int, ...], "{'a': 1} is not allowed; allowed: list of int"),
        ((1,), tuple[int, str], "[1] is not allowed; allowed: list of [int, text]"),
        ([1, 2], dict[str, int], "[1, 2] is not allowed; allowed: table of int"),
        ({1: 2}, dict[str, int], "{1: 2} is not allowed; allowed: table of int"),
        ("AreaView", Component, "'AreaView' is not a component; allowed: use(\"NAME\", option=value, ...)"),
        ({"type": 3}, Component, "{'type': 3} is not a component; allowed: use(\"NAME\", option=value, ...)"),
        ({"type": "A", "options": 3}, Component, "options: 3 is not a table of options"),
        (3, Point, "3 is not a Point"),
        ("x" * 90, int, f"'{'x' * 56}... is not allowed; allowed: int"),
    ],
)
def test_nothing_is_coerced(value, hint, words):
    """What is not of the type is refused in words, though Python could convert it."""
    if words is None:
        assert structure(value, hint) == value
    else:
        assert problems(value, hint) == [words]


@pytest.mark.parametrize(
    ("value", "hint", "expected"),
    [
        (3, float, 3.0),
        (1, PositiveFloat, 1.0),
        ("a/b", Path, Path("a/b")),
        ([1, 2], tuple[int, ...], (1, 2)),
        ((1, 2), list[int], [1, 2]),
        ([1, ["a"]], tuple, (1, ["a"])),
        ([], tuple[int, ...], ()),
        ([1, "a"], tuple[int, str], (1, "a")),
        ({"a": [1]}, dict[str, tuple[int, ...]], {"a": (1,)}),
        (None, int | None, None),
        (1, int | str, 1),
        ("1", int | str, "1"),
        (1, Literal[True, 1], 1),
        ({"type": "A"}, Component, use("A")),
        ({"x": 1}, Point, Point(1)),
        (object, Any, object),
    ],
)
def test_what_is_allowed(value, hint, expected):
    """Whole numbers are numbers, lists are tuples; the result has the type of the annotation, not of the value."""
    result = structure(value, hint)
    assert result == expected
    assert type(result) is type(expected)


def test_everything_at_once():
    """Unknown, missing and wrong fields at every depth are one error, each with its own path."""
    data = {
        "points": [{"x": 1}, {"y": 0}, {"x": 1.5, "z": 3}],
        "scale": 0,
        "centre": {"x": "a"},
        "colour": "rde",
        "tags": {"a": 1, "b": "c"},
        "nmae": "square",
        "part": {"type": "A", "optoins": {}},
    }
    assert sorted(problems(data, Shape, "top")) == sorted(
        [
            "top.name: is missing",
            "top.points[1].x: is missing",
            "top.points[1].y: 0 is not allowed; allowed: int, at least 1",
            "top.points[2].x: 1.5 is not allowed; allowed: int",
            "top.points[2].z: 'z' is not a field of Point; allowed: x, y",
            "top.scale: 0 is not allowed; allowed: number, more than 0",
            "top.centre.x: 'a' is not allowed; allowed: int",
            "top.colour: 'rde' is not allowed; allowed: 'red' | 'blue'; did you mean 'red'?",
            "top.tags.b: 'c' is not allowed; allowed: int",
            "top.nmae: 'nmae' is not a field of Shape; "
            "allowed: name, points, scale, closed, centre, colour, tags, part; did you mean 'name'?",
            "top.part: {'type': 'A', 'optoins': {}} is not a component; allowed: use(\"NAME\", option=value, ...)",
        ]
    )


def test_entries_with_a_name_are_called_by_it():
    """In a list an entry's path is its name where it has one, and its index otherwise."""
    data = [{"name": "a", "scale": 0}, {"scale": 0}, {"name": "up-2", "scale": 0}, {"name": 3}, {"name": ""}]
    expected = ["a.scale", "[1].name", "[1].scale", "up-2.scale", "[3].name"]
    assert [line.partition(":")[0] for line in problems(data, tuple[Shape, ...])] == expected


def test_an_object_is_checked_too():
    """An attrs object made in Python was never checked; it is structured as its data would be."""
    assert structure(Shape("a", points=[Point(1)]), Shape) == Shape("a", points=(Point(1),))
    assert problems(Shape("a", points=[Point(1), Point("b")]), Shape) == [
        "points[1].x: 'b' is not allowed; allowed: int"
    ]


SHAPES = st.builds(
    Shape,
    name=st.text(),
    points=st.lists(st.builds(Point, st.integers(), st.integers(min_value=1)), max_size=3).map(tuple),
    scale=st.floats(min_value=1e-300, allow_infinity=False),
    closed=st.booleans(),
    centre=st.none() | st.builds(Point, st.integers()),
    colour=st.sampled_from(["red", "blue"]),
    tags=st.dictionaries(st.text(), st.integers(), max_size=3),
    part=st.none()
    | st.recursive(
        st.builds(Component, st.text(), st.dictionaries(st.text(), st.integers() | st.booleans(), max_size=2)),
        lambda inner: st.builds(
            Component, st.text(), st.dictionaries(st.text(), inner | st.lists(inner, max_size=2), max_size=2)
        ),
        max_leaves=4,
    ),
)


@settings(deadline=None)
@given(SHAPES)
def test_json_round_trip(shape):
    """Through JSON text and back, an object equals itself."""
    text = json.dumps(unstructure(shape))
    assert structure(json.loads(text), Shape) == shape


@st.composite
def typed_values(draw, depth=2):
    """A type, a value of it, and a wrong value with the path to what is wrong in it."""
    kinds = ["int", "number", "text", "bool", "positive"] + (["list", "table", "optional", "pair"] if depth else [])
    kind = draw(st.sampled_from(kinds))
    if kind == "int":
        return int, draw(st.integers()), (draw(st.sampled_from([1.0, True, "1", None, [1]])), "")
    if kind == "number":
        return float, draw(st.floats(-9, 9)), (draw(st.sampled_from([False, "1.0", None, math.nan])), "")
    if kind == "text":
        return str, draw(st.text()), (draw(st.sampled_from([1, None, ["a"], b"a"])), "")
    if kind == "bool":
        return bool, draw(st.booleans()), (draw(st.sampled_from([0, 1, "true", None])), "")
    if kind == "positive":
        return Annotated[int, Range(1)], draw(st.integers(min_value=1)), (draw(st.integers(max_value=0)), "")
    hint, value, (wrong, path) = draw(typed_values(depth=depth - 1))
    if kind == "list":
        before, after = [value] * draw(st.integers(0, 2)), [value] * draw(st.integers(0, 2))
        path = f"[{len(before)}]" + (f".{path}" if path and path[0] != "[" else path)
        return tuple[hint, ...], (*before, value, *after), ([*before, wrong, *after], path)
    if kind == "table":
        path = "k" + (f".{path}" if path and path[0] != "[" else path)
        return dict[str, hint], {"a": value, "k": value}, ({"a": value, "k": wrong}, path)
    if kind == "pair":
        other, good, _ = draw(typed_values(depth=0))
        path = "[1]" + (f".{path}" if path and path[0] != "[" else path)
        return tuple[other, hint], (good, value), ([good, wrong], path)
    return hint | None, draw(st.sampled_from([None, value])), (wrong, path) if wrong is not None else (object(), path)


@settings(deadline=None)
@given(typed_values())
def test_any_type(case):
    """A value of any type comes back from its data; with one thing wrong in it, that thing's path is the error's."""
    hint, value, (wrong, path) = case
    assert structure(unstructure(value), hint) == value
    with pytest.raises(InputError) as caught:
        structure(wrong, hint)
    assert [problem.where for problem in caught.value.problems] == [path]


@pytest.mark.parametrize(
    ("hint", "expected"),
    [
        (int, True),
        (Any, True),
        (Positive | None, True),
        (Literal["a"], True),
        (tuple[int, ...], True),
        (Mapping[str, tuple[Point, ...]], True),
        (Path, True),
        (object, False),
        (complex, False),
        (type[int], False),
        (tuple[complex, ...], False),
        (Annotated[complex, 1], False),
        (dict[str, complex] | None, False),
    ],
)
def test_what_a_spec_can_hold(hint, expected):
    """Types that have values in a spec are known from those that have none, at any depth."""
    assert has_values(hint) is expected
