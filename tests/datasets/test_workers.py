"""Decoding in processes that may die."""

import multiprocessing
import os
import time
from pathlib import Path

import numpy as np
import pytest

from datasets.decode import VideoError
from datasets.workers import _work, decode_in_order


def _act(path):
    """Behave as the file's name says; the result holds the number in it."""
    kind, number = path.name.split("_")
    if kind == "crash":
        os.abort()
    if kind == "hang":
        time.sleep(60)
    if kind == "bad":
        raise VideoError(path, "is bad")
    if kind == "bug":
        raise ZeroDivisionError("a fault of the program")
    time.sleep(0.05 * (int(number) % 3))
    return np.full((1, 2, 2, 3), int(number), np.uint8)


def test_order_and_errors():
    """Results come in the order of the paths, errors, crashes and hangs in their places, and work goes on."""
    names = ["ok_0", "crash_1", "ok_2", "bad_3", "hang_4", "ok_5", "ok_6"]
    outcomes = list(decode_in_order([Path(name) for name in names], _act, 2, timeout=3.0))
    reasons = {1: "crashed the decoder", 3: "is bad", 4: "not decoded within 3 s"}
    for number, outcome in enumerate(outcomes):
        if number in reasons:
            assert isinstance(outcome, VideoError)
            assert reasons[number] in outcome.reason
            assert outcome.path == Path(names[number])
        else:
            assert outcome[0, 0, 0, 0] == number
    assert len(outcomes) == len(names)


class _Unpicklable:
    """Something that no process can be started with anew."""

    def __reduce__(self):
        return (_fail, ())


def _fail():
    raise ZeroDivisionError


def test_a_process_that_cannot_start_blames_no_video():
    """When a worker dies before it is ready, that is an error of the run and not of a video."""
    with pytest.raises(RuntimeError, match="did not start"):
        list(decode_in_order([Path("ok_0")], _Unpicklable(), 1))


def test_worker_leaves_quietly_when_the_parent_is_gone(capfd):
    """A worker whose parent has died ends without a word, whether it waits or has a result to give."""
    for send in (False, True):
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_work, args=(_act, theirs))
        process.start()
        theirs.close()
        assert ours.recv() is None
        if send:
            ours.send(Path("ok_2"))
        ours.close()
        process.join(timeout=20)
        assert process.exitcode == 0
    assert capfd.readouterr().err == ""


def test_fault_of_the_program_is_raised():
    """An error that is not the video's is not put on the video."""
    with pytest.raises(RuntimeError, match="a fault of the program"):
        list(decode_in_order([Path("bug_0")], _act, 1))
