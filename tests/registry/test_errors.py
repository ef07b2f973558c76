"""The one form of error: what its line says, where, and what is nearest."""

import copy
import pickle
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch._utils import ExceptionWrapper

from registry import InputError, Problem
from registry.errors import join, nearest, unknown


@pytest.mark.parametrize(
    ("problem", "line"),
    [
        (Problem("a.b", "is wrong"), "a.b: is wrong"),
        (Problem("", "is wrong"), "is wrong"),
        (Problem("a", "is wrong", allowed="1 to 3"), "a: is wrong; allowed: 1 to 3"),
        (Problem("a", "no x is called 'y'", "z", "z"), "a: no x is called 'y'; allowed: z; did you mean 'z'?"),
        (Problem("a", "is wrong", "1", who="rank 3"), "rank 3: a: is wrong; allowed: 1"),
        (Problem("a", "is\nwrong\t twice", allowed=""), "a: is wrong twice; allowed:"),
    ],
)
def test_line(problem, line):
    """A problem says where, what, what is allowed and what is nearest, as far as it knows."""
    assert str(problem) == line


@settings(deadline=None)
@given(st.text(), st.text(), st.none() | st.text())
def test_always_one_line(where, what, allowed):
    """Whatever text a problem is made of, its line has no line break in it."""
    assert len(str(Problem(where, what, allowed)).splitlines()) <= 1


def test_error_is_a_line_per_problem():
    """The text of an error is the lines of its problems, in their order."""
    assert str(InputError([Problem("a", "is x"), Problem("b", "is y")])) == "a: is x\nb: is y"
    assert InputError.of("a", "is x", "y").problems == (Problem("a", "is x", "y"),)


def test_under_puts_a_path_in_front():
    """Seen from further out every problem has the longer path; indices are joined without a dot."""
    error = InputError([Problem("b", "is x"), Problem("", "is y"), Problem("[2].c", "is z")])
    assert [problem.where for problem in error.under("a").under("top").problems] == ["top.a.b", "top.a", "top.a[2].c"]
    assert [problem.where for problem in error.problems] == ["b", "", "[2].c"]


@pytest.mark.parametrize(
    ("parts", "path"),
    [((), ""), (("a",), "a"), (("a", "b"), "a.b"), (("a", "", "[0]", "b"), "a[0].b"), (("", "[0]"), "[0]")],
)
def test_join(parts, path):
    """Dots stand between names and before no index."""
    assert join(*parts) == path


@pytest.mark.parametrize(
    ("name", "expected"),
    [("wdith", "width"), ("WIDTH", "width"), ("dvdgenerator", "DVDGenerator"), ("zzz", None), ("", None)],
)
def test_nearest(name, expected):
    """Slips of the finger and of the case are seen through; what is like nothing gets no advice."""
    assert nearest(name, ["height", "width", "DVDGenerator"]) == expected


@pytest.mark.parametrize(
    ("name", "expected"), [("fdi", "fid"), ("--quikc", None), ("--frams", "--frames"), ("-is", "is")]
)
def test_nearest_of_short_names(name, expected):
    """Letters in another order come first; that options begin with dashes makes them no more alike."""
    assert nearest(name, ["fvd", "fid", "is", "--gpu", "--frames"]) == expected


def test_unknown_lists_what_there_is():
    """An unknown name is an error with all the names in order and the nearest; with none to name, it says so."""
    assert str(unknown("a", "view", "Aera", ["Nearest", "Area"])) == (
        "a: no view is called 'Aera'; allowed: Area, Nearest; did you mean 'Area'?"
    )
    assert str(InputError.unknown("", "stage", "x", [])) == "no stage is called 'x'; allowed: none"


@pytest.mark.parametrize("again", [copy.copy, lambda error: pickle.loads(pickle.dumps(error))])  # noqa: S301  # our own
def test_crosses_processes(again):
    """A pickled or copied error has the same problems."""
    error = InputError([Problem("a", "is x", "y", "z"), Problem("b", "is y")])
    assert again(error).problems == error.problems


def test_raised_in_a_loader_worker():
    """A worker's error, which torch makes anew from the text of its traceback, has the same lines."""
    try:
        raise InputError([Problem("a", "is x", allowed="y"), Problem("b", "is y")])
    except InputError:
        wrapper = ExceptionWrapper(sys.exc_info(), where="in DataLoader worker process 0")
    with pytest.raises(InputError) as caught:
        wrapper.reraise()
    assert [str(problem) for problem in caught.value.problems] == ["a: is x; allowed: y", "b: is y"]
