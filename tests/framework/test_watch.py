"""Ranks that are lost, or end by themselves: the others end, and say which it was."""

import multiprocessing
import os
import signal
import socket
import sys
import threading
import time

import attrs
import pytest
import torch
from ranks import await_mark, mark, results, started
from torch import distributed

from components.ranks import rank
from framework.together import any_rank, together
from framework.watch import Watch, of_a_collective
from framework.watch_circle import Circle, First, Other
from framework.watch_line import connect, listen
from registry import InputError
from registry.cli import BAD_INPUT, FAILED, INTERRUPTED, REQUEUE
from registry.errors import AgreedError, Stopped

LONG = 60.0
"""What is found with such patience is not found by waiting."""
CLOSED = "Connection closed by peer"


def _train(lost_after, away):
    """Rank ``away`` stays away from a collective that the others wait in."""
    with Watch(beat=0.2, lost_after=lost_after):
        distributed.all_reduce(torch.ones(1))
        sys.stdout.reconfigure(write_through=False)  # as it is without PYTHONUNBUFFERED
        sys.stdout.write("not flushed")
        mark("training")
        if rank() == away:
            time.sleep(600)
        any_rank([True])


def _named(ranks, lost):
    """The one line that the ranks but ``lost`` wrote."""
    (line,) = [line for each in ranks if each is not lost for line in each.err.splitlines()]
    assert line.startswith(f"error: rank {lost.number} (host {socket.gethostname()}, pid {lost.pid}) ")
    return line


@pytest.mark.parametrize("world", [2, 3])
@pytest.mark.parametrize("away", [0, 1])
@pytest.mark.parametrize(
    ("number", "lost_after", "how"),
    [(signal.SIGKILL, LONG, "its process ended without a word"), (signal.SIGSTOP, 2.0, "not heard from for 2 s")],
    ids=["killed", "stopped"],
)
def test_lost_rank(tmp_path, world, away, number, lost_after, how):
    """The others, blocked in a collective, end with one line that names the lost rank and the code for a requeue."""
    with started(_train, world, tmp_path / "ranks", lost_after, away) as ranks:
        for each in ranks:
            each.reached("training")
        lost = ranks[away]
        lost.tell(number)
        left = [each for each in ranks if each is not lost]
        assert [each.wait() for each in left] == [REQUEUE] * (world - 1)
        assert _named(ranks, lost).endswith(f"was lost: {how}; the same command carries on from the last checkpoint")
        assert all(each.out == "not flushed" for each in left)


@pytest.mark.parametrize("away", [0, 1])
def test_lost_rank_comes_back(tmp_path, away):
    """A rank that was given up ends as well when it wakes, and blames nobody."""
    with started(_train, 3, tmp_path / "ranks", 2.0, away) as ranks:
        for each in ranks:
            each.reached("training")
        ranks[away].tell(signal.SIGSTOP)
        assert [each.wait() for each in ranks if each.number != away] == [REQUEUE] * 2
        ranks[away].tell(signal.SIGCONT)
        assert ranks[away].wait() == REQUEUE
        assert "was lost" not in ranks[away].err


def _with_a_child():
    with Watch(beat=0.2, lost_after=LONG):
        child = multiprocessing.Process(target=time.sleep, args=(600,))
        child.start()
        mark(f"child-{child.pid}")
        mark("training")
        any_rank([True]) if rank() == 0 else time.sleep(600)


def test_lost_rank_with_a_living_child(tmp_path):
    """The children of a killed process, loader workers for instance, do not keep its connection open."""
    with started(_with_a_child, 2, tmp_path / "ranks") as ranks:
        for each in ranks:
            each.reached("training")
        ranks[1].tell(signal.SIGKILL)
        code = ranks[0].wait()
        for path in (tmp_path / "ranks").glob("child-*"):
            os.kill(int(path.name.partition(".")[0].removeprefix("child-")), signal.SIGKILL)
        assert code == REQUEUE
        assert "ended without a word" in _named(ranks, ranks[1])


def _leaves(who, error):
    with Watch(beat=0.2, lost_after=LONG):
        if rank() == who:
            raise error
        any_rank([True])


@pytest.mark.parametrize("who", [0, 1])
@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (InputError.of("a", "is x"), BAD_INPUT, "a: is x"),
        (OSError("disk"), BAD_INPUT, "disk"),
        (ZeroDivisionError("by zero\nand more"), FAILED, "ZeroDivisionError: by zero"),
        (KeyboardInterrupt(), INTERRUPTED, "interrupted"),
        (Stopped(REQUEUE, "error: a worker died", own=True), REQUEUE, "a worker died"),
    ],
    ids=["input", "system", "bug", "interrupt", "stop"],
)
def test_rank_ends_with_an_error(tmp_path, who, error, code, said):
    """A rank's own error ends the others, which say whose and what it was, with its exit code."""
    with started(_leaves, 3, tmp_path / "ranks", who, error) as ranks:
        others = [each for each in ranks if each.number != who]
        assert [each.wait() for each in others] == [code] * 2
        lines = [line for each in others for line in each.err.splitlines()]
        if who:  # rank 0 speaks; when it has something of its own to say, that is enough
            assert lines == [f"error: rank {who} (host {socket.gethostname()}, pid {ranks[who].pid}) ended: {said}"]
        else:
            assert lines == []


def _all_leave(error):
    """All raise an error, at their own time."""
    with Watch(beat=0.2, lost_after=LONG):
        time.sleep(0.5 * rank())
        raise error


@pytest.mark.parametrize("error", [AgreedError.of("a", "is x"), Stopped(REQUEUE, "stopped")], ids=["error", "stop"])
def test_all_end_with_an_error(tmp_path, error):
    """An error that all ranks raise reaches the end of each: none is ended by another."""
    with started(_all_leave, 3, tmp_path / "ranks", error) as ranks:
        for each in ranks:
            assert each.wait() == 1
            assert each.err.count("Traceback") == 1
            assert "ended" not in each.err


def _told():
    def action():
        if rank() == 1:
            raise ZeroDivisionError

    with Watch(beat=0.2, lost_after=LONG):
        together(action)


def test_error_that_was_told(tmp_path):
    """A rank's own error that the others have been told of does not end them a second way."""
    with started(_told, 3, tmp_path / "ranks") as ranks:
        assert [each.wait() for each in ranks] == [1] * 3
        assert "ZeroDivisionError" in ranks[1].err
        assert all("Stopped" in each.err and " ended: " not in each.err for each in (ranks[0], ranks[2]))


def _part():
    """Ranks that finish at different times, twice."""
    for turn in range(2):
        with Watch(beat=0.2, lost_after=LONG) as watch:
            any_rank([True])
            time.sleep(0.7 * ((rank() + turn) % 3))
            alive = watch._circle.thread.is_alive()
    return alive


def test_end_without_alarm(tmp_path):
    """Ranks that are done end quietly, whichever is first, and can start another watch."""
    with started(_part, 3, tmp_path / "ranks") as ranks:
        assert [each.result() for each in ranks] == [True] * 3
        assert [each.err for each in ranks] == [""] * 3


def _busy():
    with Watch(beat=0.2, lost_after=2.0):
        until = time.monotonic() + 3.0
        while rank() and time.monotonic() < until:
            sum(range(100_000))
        any_rank([True])
        while not rank() and time.monotonic() < until + 3.0:
            sum(range(100_000))
        return True


def test_busy_is_not_lost(tmp_path):
    """A rank whose main thread computes, or waits, for longer than the patience stays."""
    assert results(_busy, 2, tmp_path / "ranks") == [True, True]


def _until_resumed():
    with Watch(beat=0.2, lost_after=2.0):
        mark("training")
        await_mark("resumed", 0)
        return any_rank([True])


def test_all_suspended(tmp_path):
    """Ranks that a scheduler suspends and resumes together go on."""
    with started(_until_resumed, 3, tmp_path / "ranks") as ranks:
        for each in ranks:
            each.reached("training")
        for number in (signal.SIGSTOP, signal.SIGCONT):
            for each in ranks:
                each.tell(number)
            time.sleep(3.0)  # longer than anybody may be silent
        (tmp_path / "ranks" / "resumed.0").touch()
        assert [each.result() for each in ranks] == [[True]] * 3


def _like_a_collective():
    with Watch(beat=0.2, lost_after=1.0):
        if rank() == 1:
            raise RuntimeError(f"gloo/transport/tcp/pair.cc:553] {CLOSED}")
        any_rank([True])


def test_failed_collective_of_living_ranks(tmp_path):
    """When a collective fails and no rank is lost, its error is the rank's own after all."""
    with started(_like_a_collective, 2, tmp_path / "ranks") as ranks:
        assert [each.wait() for each in ranks] == [FAILED, 1]
        assert CLOSED in ranks[1].err
        assert _named(ranks, ranks[1]).endswith(" ended: RuntimeError: gloo/transport/tcp/pair.cc:553] " + CLOSED)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (RuntimeError(f"[gloo/transport/tcp/pair.cc:553] {CLOSED} [127.0.0.1]:1"), True),
        (RuntimeError("NCCL communicator was aborted on rank 1"), True),
        (distributed.DistBackendError("remote process exited"), True),
        (distributed.DistNetworkError("recvValue failed"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ConnectionResetError("Connection reset by peer"), False),
        (KeyboardInterrupt(), False),
    ],
)
def test_of_a_collective(error, expected):
    """What gloo, NCCL and the store raise when a peer is gone is told from other errors, which need no waiting."""
    assert of_a_collective(error) is expected


def _watch_breaks(who, place):
    """The watch of rank ``who`` meets an error that nobody expected, while all wait for long."""
    broken = False

    def breaking(method):
        def called(circle, *arguments):
            if broken:
                raise ZeroDivisionError("by zero\nand more")
            return method(circle, *arguments)

        return called

    for kind in (First, Other):
        setattr(kind, place, breaking(getattr(kind, place)))
    with Watch(beat=0.2, lost_after=LONG):
        any_rank([True])
        broken = rank() == who
        time.sleep(600)


@pytest.mark.parametrize("who", [0, 1])
@pytest.mark.parametrize("place", ["_judge", "_lines"])
def test_an_error_of_the_watch_itself(tmp_path, who, place):
    """Its rank ends with the traceback; the others are told and end, too, and nobody is called lost."""
    with started(_watch_breaks, 3, tmp_path / "ranks", who, place) as ranks:
        assert [each.wait() for each in ranks] == [FAILED] * 3
        failed = ranks[who]
        name = f"rank {who} (host {socket.gethostname()}, pid {failed.pid})"
        said = "the watch over the ranks failed: ZeroDivisionError: by zero"
        first, *traceback = failed.err.splitlines()
        assert first == f"error: {name}: {said}"
        assert traceback[0] == "Traceback (most recent call last):"
        assert traceback[-2:] == ["ZeroDivisionError: by zero", "and more"]
        others = [line for each in ranks if each is not failed for line in each.err.splitlines()]
        if place == "_judge":
            assert others == ([f"error: {name} ended: {said}"] if who else [])  # rank 0 speaks, as ever


def _watch_breaks_at_the_end(who, error):
    if rank() == who:
        Circle._take_leave = First._take_leave = Other._take_leave = lambda circle: 1 / 0
    with Watch(beat=0.2, lost_after=LONG):
        any_rank([True])
        if error is not None:
            if rank() == who or isinstance(error, AgreedError):
                raise error
            any_rank([True])


OWN, AGREED = InputError.of("a", "is x"), AgreedError.of("a", "is x")


@pytest.mark.parametrize("who", [0, 1])
@pytest.mark.parametrize("error", [None, OWN, AGREED], ids=["done", "input", "agreed"])
def test_an_error_of_the_watch_as_it_ends(tmp_path, who, error):
    """The traceback is written there as well; a rank's own error is not lost over it, and the others end."""
    with started(_watch_breaks_at_the_end, 2, tmp_path / "ranks", who, error) as ranks:
        assert ranks[who].wait() == FAILED
        # Rank 0 leaves last; to it a rank that cannot say that it leaves is lost.
        assert ranks[1 - who].wait() == (REQUEUE if who or error is OWN else 0 if error is None else FAILED)
        assert f"rank {who} (host {socket.gethostname()}, pid {ranks[who].pid}): the watch over" in ranks[who].err
        assert "ZeroDivisionError: division by zero" in ranks[who].err
        assert ("a: is x" in ranks[who].err) == (error is not None)


def _unreachable():
    """Rank 1 is given an address that leads nowhere."""
    from framework import watch

    def nowhere(address, *more):
        raise InputError.of("", "cannot reach rank 0")

    if rank() == 1:
        watch.connect = nowhere
    try:
        with Watch(beat=0.2, lost_after=1.0):
            raise AssertionError("entered")
    except AgreedError as error:
        time.sleep(2.0)  # nobody is left that would end this process
        return str(error)


def test_unreachable(tmp_path):
    """Where one rank cannot reach rank 0 all say so, and no thread stays behind."""
    assert results(_unreachable, 3, tmp_path / "ranks") == ["rank 1: cannot reach rank 0"] * 3


def test_one_process_has_nothing_to_watch():
    """Without other ranks a watch is nothing at all, and hides no error."""
    with pytest.raises(RuntimeError, match="gloo"), Watch():
        raise RuntimeError("gloo")


def _strangers():
    """What each of some strangers got; then a rank joins and all leave."""
    listener, address = listen()
    first = First(listener, address, 2, 0.1, LONG)
    got = []
    for said in (b"GET / HTTP/1.1\r\n\r\n", b"[1]\n", b'{"secret": "x", "rank": 1}\n', b"x" * 100_000):
        with socket.create_connection(("127.0.0.1", address.port), timeout=LONG) as stranger:
            stranger.sendall(said)
            try:
                got.append(stranger.recv(1))
            except ConnectionResetError:
                got.append(b"")
    with socket.create_connection(("127.0.0.1", address.port)):
        line, speaks = connect(address, 1, LONG)
        Other(line, speaks, "rank 1", address.who, 0.1, LONG).leave(None)
        first.leave(None)
    return got, speaks


def test_strangers(tmp_path):
    """Whoever connects without the secret is shown out, and is in nobody's way."""
    assert results(_strangers, 1, tmp_path / "ranks") == [([b""] * 4, True)]


def test_wrong_machine():
    """Another server at rank 0's address is not taken for it, and what was tried is said."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        _, address = _closed()
        address = attrs.evolve(address, names=("127.0.0.1",), host="far", port=server.getsockname()[1])
        answering = threading.Thread(target=lambda: server.accept()[0].sendall(b'{"proof": "mine", "speaks": true}\n'))
        answering.start()
        with pytest.raises(InputError, match=r"cannot reach rank 0 on far, .*127.0.0.1: is not rank 0's machine"):
            connect(address, 1, LONG)
        answering.join()


def test_nobody_there():
    """A refused connection and an unknown name are said, each with its reason."""
    port, address = _closed()
    address = attrs.evolve(address, names=("127.0.0.1", "no.such.name.invalid"), host="far")
    with pytest.raises(InputError, match=rf"port {port} \(127.0.0.1: Connection refused; no.such.name.invalid: .+\)"):
        connect(address, 1, LONG)


def _closed():
    listener, address = listen()
    listener.close()
    return address.port, address
