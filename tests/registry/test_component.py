"""Components as data: equal by name and options, whatever sequences and paths they were given as."""

from pathlib import Path

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry import Component, use
from registry.component import freeze, show

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


def lists_in(value):
    """Whether there is a list anywhere in ``value``."""
    if isinstance(value, dict):
        return any(map(lists_in, value.values()))
    return isinstance(value, list) or (isinstance(value, tuple) and any(map(lists_in, value)))


def test_use():
    """Naming a component keeps its name and options; an option may be called anything, ``name`` too."""
    assert use("A", x=1, name="n") == Component("A", {"x": 1, "name": "n"})
    assert use("A") == Component("A")
    assert use("A", x=1) != use("A", x=2)
    assert use("A", x=1) != use("B", x=1)


def test_lists_equal_tuples():
    """Lists become tuples at every depth, so that a list, its tuple and its JSON are one spec."""
    assert use("A", x=[1, [2, 3]], y={"z": [4]}) == use("A", x=(1, (2, 3)), y={"z": (4,)})
    assert use("A", views=[use("B", x=[1])]).options["views"] == (use("B", x=(1,)),)


def test_paths_are_text():
    """A path is the text that JSON would hold."""
    assert use("A", path=Path("data") / "x.zarr") == use("A", path="data/x.zarr")


@settings(deadline=None)
@given(VALUES)
def test_freezing_leaves_no_list(value):
    """No list stays, and what is frozen stays as it is."""
    frozen = freeze(value)
    assert not lists_in(frozen)
    assert freeze(frozen) == frozen


def test_options_are_taken_over():
    """Changing the table that a component was made of does not change the component; nor can its fields be set."""
    options = {"x": [1]}
    component = Component("A", options)
    options["x"].append(2)
    options["y"] = 3
    assert component == use("A", x=[1])
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        component.type = "B"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (use("A"), "A()"),
        (use("A", x=[1, 2], y="t", z=None), "A(x=[1, 2], y='t', z=None)"),
        (use("A", views=[use("B", time=2), use("C")]), "A(views=[B(time=2), C()])"),
        ((1, (True, "x")), "[1, [True, 'x']]"),
    ],
)
def test_reads_as_written(value, text):
    """As text a component reads as it would be called, its lists in square brackets."""
    assert show(value) == text
    assert str(use("X", v=value)) == f"X(v={text})"
