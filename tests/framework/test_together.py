"""Several processes as one: their errors, what rank 0 does for all, flags and means."""

import errno
import os

import pytest
import torch
from ranks import results, started
from torch import distributed

from components.ranks import rank, world
from framework.together import any_rank, mean_over_ranks, on_first, sum_over_ranks, together, which
from registry import InputError, Problem
from registry.errors import AgreedError, Stopped


def _caught(function, action):
    """What comes of it, as text: the result, or the class of the error and what it says."""
    try:
        return function(action)
    except Exception as error:  # noqa: BLE001  # whatever it is, the test says which it has to be
        return type(error).__name__, str(error)


def _one_fails(errors):
    """Each rank raises its own error, or returns its number where it has none."""

    def action():
        if errors[rank()] is not None:
            raise errors[rank()]
        return rank()

    return _caught(together, action), any_rank([False])


BUG = ZeroDivisionError("by zero\nand more")


@pytest.mark.parametrize(
    ("errors", "expected"),
    [
        ((None, None, None), [0, 1, 2]),
        ((None, InputError.of("a", "is x"), None), [("AgreedError", "rank 1: a: is x")] * 3),
        ((InputError.of("a", "is x"),) * 3, [("AgreedError", "a: is x")] * 3),
        (
            (
                InputError([Problem("a", "is x"), Problem("b", "is y")]),
                InputError([Problem("b", "is y"), Problem("c", "is z", "w")]),
                InputError([Problem("b", "is y"), Problem("c", "is z", "w")]),
            ),
            [("AgreedError", "rank 0: a: is x\nb: is y\nranks 1-2: c: is z; allowed: w")] * 3,
        ),
        (
            (None, None, OSError(errno.ENOSPC, "No space left on device", "/x")),
            [("AgreedError", "rank 2: /x: No space left on device")] * 3,
        ),
        (
            (None, BUG, None),
            [
                ("Stopped", "error: rank 1 failed: ZeroDivisionError: by zero"),
                ("ZeroDivisionError", "by zero\nand more"),
                ("Stopped", "error: rank 1 failed: ZeroDivisionError: by zero"),
            ],
        ),
        ((None, InputError.of("a", "is x"), Stopped(75, "enough", own=True)), [("Stopped", "enough")] * 3),
    ],
    ids=["none", "one", "all", "different", "system", "bug", "stop"],
)
def test_errors_are_agreed(tmp_path, errors, expected):
    """All ranks raise what any has met, each problem once and with whose it is; then they go on together."""
    came = results(_one_fails, 3, tmp_path / "ranks", errors)
    assert [outcome for outcome, _ in came] == expected
    assert all(after == [False] for _, after in came)


def _first(error):
    def action():
        assert (rank(), world(), distributed.get_rank()) == (0, 1, 0)
        if error is not None:
            raise error
        return {"pid": os.getpid()}

    return os.getpid(), _caught(on_first, action), any_rank([False])


def test_first_runs_it_for_all(tmp_path):
    """Rank 0 alone runs the action, in a world of its own; all get its result."""
    came = results(_first, 3, tmp_path / "ranks", None)
    assert [outcome for _, outcome, _ in came] == [{"pid": came[0][0]}] * 3


@pytest.mark.parametrize(
    ("error", "own", "others"),
    [
        (InputError.of("a", "is x"), ("AgreedError", "a: is x"), ("AgreedError", "a: is x")),
        (FileNotFoundError(errno.ENOENT, "gone", "/x"), ("AgreedError", "/x: gone"), ("AgreedError", "/x: gone")),
        (Stopped(75, "enough"), ("Stopped", "enough"), ("Stopped", "enough")),
        (
            BUG,
            ("ZeroDivisionError", "by zero\nand more"),
            ("Stopped", "error: rank 0 failed: ZeroDivisionError: by zero"),
        ),
    ],
    ids=["input", "system", "stop", "bug"],
)
def test_error_of_the_first(tmp_path, error, own, others):
    """Rank 0's error ends all; one that is the program's keeps its traceback in rank 0."""
    assert [outcome for _, outcome, _ in results(_first, 2, tmp_path / "ranks", error)] == [own, others]


def _unpicklable():
    return _caught(on_first, lambda: lambda: None), any_rank([True])


def test_result_that_cannot_be_sent(tmp_path):
    """An action whose result cannot be sent fails in all ranks; none waits for it forever."""
    (own, _), (others, after) = results(_unpicklable, 2, tmp_path / "ranks")
    assert own[0] not in ("AgreedError", "Stopped")
    assert others[1].startswith("error: rank 0 failed: ")
    assert after == [True]


def _decide(table):
    values = {"a": torch.tensor(table[rank()], dtype=torch.float32), "b": torch.tensor(rank())}
    means = mean_over_ranks(values)
    return any_rank([rank() == 1, False, rank() == 2, True]), {name: value.item() for name, value in means.items()}


def test_flags_and_means(tmp_path):
    """A flag is set for all when any rank sets it; means add up in double precision and the ranks' order."""
    table = [1e8, 1.0, -1e8]  # in single precision the one is lost
    came = results(_decide, 3, tmp_path / "ranks", table)
    assert came == [([True, False, True, True], {"a": 1 / 3, "b": 1.0})] * 3


def _sums():
    own = {"all": torch.full((2,), 10.0 ** rank(), dtype=torch.float64)}
    return {
        name: value.tolist() for name, value in sum_over_ranks(own | ({"one": own["all"]} if rank() else {})).items()
    }


def test_sums(tmp_path):
    """Of what all ranks have and of what some have; all come to have the same."""
    assert results(_sums, 3, tmp_path / "ranks") == [{"all": [111.0, 111.0], "one": [110.0, 110.0]}] * 3


def test_one_process_needs_no_group():
    """Without other ranks everything is a plain call, errors included."""
    assert together(lambda: 5) == on_first(lambda: 5) == 5
    assert any_rank([True, False]) == [True, False]
    value = torch.tensor(2.0)
    assert mean_over_ranks({"a": value})["a"] is value
    for function in (together, on_first):
        with pytest.raises(ZeroDivisionError):
            function(lambda: 1 // 0)


def _forgotten():
    from framework.together import end_control

    end_control()
    return _caught(together, lambda: 1)


def test_control_group_forgotten(tmp_path):
    """Several ranks without a control group are told so."""
    with started(_forgotten, 2, tmp_path / "ranks") as ranks:
        assert [each.result()[0] for each in ranks] == ["RuntimeError"] * 2


@pytest.mark.parametrize(
    ("ranks", "text"), [([3], "rank 3"), ([0, 2], "ranks 0, 2"), ([0, 1, 2, 5, 7, 8], "ranks 0-2, 5, 7-8")]
)
def test_which(ranks, text):
    """Numbers that follow each other are said as a range."""
    assert which(ranks) == text


def test_agreed_stays_agreed():
    """A path put in front of an agreed error does not make it one rank's own; a stop says its line."""
    assert type(AgreedError.of("b", "is x").under("a")) is AgreedError
    assert str(AgreedError.of("b", "is x").under("a")) == "a.b: is x"
    assert str(Stopped(75, "stopped")) == "stopped"
