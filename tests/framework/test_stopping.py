"""Stopping when asked: signals, agreement between ranks, and loader workers that signals do not kill."""

import os
import signal
import subprocess
import time
from contextlib import nullcontext

import pytest
import torch
from ranks import await_mark, mark, results, started
from torch import distributed
from torch.utils.data import DataLoader, Dataset

from components.ranks import rank
from framework.stopping import StopSignals, shield_worker, workers_start
from registry.cli import INTERRUPTED, REQUEUE

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, REQUEUE), (signal.SIGUSR1, REQUEUE), (signal.SIGINT, INTERRUPTED)]
)
def test_request(number, code):
    """Each signal is remembered and becomes a stop with its exit code, a line that names it, and where."""
    with StopSignals() as signals:
        assert not signals.agreed_stop()
        assert not signals.settle()
        os.kill(os.getpid(), number)
        assert signals.agreed_stop()
        assert signals.settle()
    stop = signals.stop("iteration 3 of base")
    assert stop.code == code
    assert signal.Signals(number).name in stop.line
    assert "iteration 3 of base" in stop.line


def test_handlers_come_back():
    """After the block, and after an error in it, the signals have the effect they had before."""
    before = [signal.getsignal(number) for number in SIGNALS]
    with pytest.raises(ZeroDivisionError), StopSignals():
        assert [signal.getsignal(number) for number in SIGNALS] != before
        raise ZeroDivisionError
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_again():
    """SIGTERM and SIGUSR1 may come again; Ctrl-C after them is a first one; a second Ctrl-C is at once."""
    with StopSignals() as signals:
        for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGTERM, signal.SIGUSR1, signal.SIGINT):
            os.kill(os.getpid(), number)
        assert signals.agreed_stop()
        assert signals.stop("x").code == REQUEUE
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_what_the_first_interrupt_says(capfd):
    """Ctrl-C at a terminal is answered at once, since the iteration may take its time."""
    with StopSignals():
        os.kill(os.getpid(), signal.SIGINT)
    assert "stopping after this iteration" in capfd.readouterr().err


def _iterate(asked, iterations):
    """Iterations done when all stopped, and the stop's code; ``asked`` is (rank, iteration, signal)s."""
    with StopSignals() as signals:
        for iteration in range(iterations):
            distributed.all_reduce(torch.ones(1))
            for who, when, number in asked:
                if (who, when) == (rank(), iteration):
                    os.kill(os.getpid(), number)
            if signals.agreed_stop():
                return iteration, signals.stop("x").code
        settled = signals.settle()
        # Nothing is left open: the ranks can go on with other things together.
        distributed.barrier()
        return ("settled", signals.stop("x").code) if settled else None


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ([], [None]),
        ([(1, 4, signal.SIGUSR1)], [(5, REQUEUE)]),
        ([(0, 4, signal.SIGINT)], [(5, INTERRUPTED)]),
        ([(0, 4, signal.SIGINT), (2, 4, signal.SIGTERM)], [(5, REQUEUE)]),
        ([(2, 0, signal.SIGTERM), (1, 0, signal.SIGTERM), (1, 1, signal.SIGTERM)], [(1, REQUEUE)]),
        ([(1, 9, signal.SIGTERM)], [("settled", REQUEUE)]),
    ],
    ids=["nobody", "one", "interrupt", "two", "twice", "last"],
)
def test_all_stop_after_the_same_iteration(tmp_path, asked, expected):
    """Whoever is asked, all ranks stop after the next iteration, or at the end when there is none, with one code."""
    assert results(_iterate, 3, tmp_path / "ranks", asked, 10) == expected * 3


class _Slow(Dataset):
    """Says which process read it, and takes its time."""

    def __len__(self):
        return 40

    def __getitem__(self, index):
        time.sleep(0.02)
        return torch.tensor([index, os.getpid()])


def _load(shield, start="fork"):
    """Read everything while the test sends signals to the workers; which samples came, and from how many."""
    with StopSignals():
        init = shield_worker if shield else None
        loader = DataLoader(_Slow(), num_workers=2, worker_init_fn=init, multiprocessing_context=start)
        with workers_start() if shield else nullcontext():
            batches = iter(loader)
        first = [next(batches)[0] for _ in range(4)]
        pids = {int(pid) for _, pid in first}
        assert len(pids) == 2
        mark("-".join(map(str, ["workers", *sorted(pids)])))
        mark("reading")
        await_mark("signalled", 0)
        everything = [*first, *(batch[0] for batch in batches)]
        mark("done")
        return sorted(int(index) for index, _ in everything)


def _workers(folder):
    (path,) = folder.glob("workers-*")
    return [int(pid) for pid in path.name.partition(".")[0].split("-")[1:]]


def _send(numbers, pids):
    """From a process that is not the workers' parent."""
    for number in numbers:
        subprocess.run(["kill", f"-{int(number)}", *map(str, pids)], check=True)


def _gone(pids):
    """Wait until the processes have ended; fails in the test's own time limit if they do not."""
    deadline = time.monotonic() + 60
    while any(_alive(pid) for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return True


def _alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123  # not a path of ours
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("start", ["fork", "forkserver"])
def test_workers_outlive_signals(tmp_path, start):
    """Workers that get what a scheduler or Ctrl-C sends to all processes read on, and end with their loader."""
    with started(_load, 1, tmp_path / "ranks", True, start) as (process,):
        process.reached("reading")
        workers = _workers(tmp_path / "ranks")
        _send([*SIGNALS, *SIGNALS], workers)
        (tmp_path / "ranks" / "signalled.0").touch()
        assert process.result() == list(range(40))
        assert _gone(workers)


def test_workers_without_a_shield(tmp_path):
    """The shield is what does it: without it a worker dies of SIGTERM and takes the run along."""
    with started(_load, 1, tmp_path / "ranks", False) as (process,):
        process.reached("reading")
        _send([signal.SIGTERM], _workers(tmp_path / "ranks")[:1])
        (tmp_path / "ranks" / "signalled.0").touch()
        assert process.wait() == 1
        assert "is killed by signal" in process.err


@pytest.mark.parametrize("start", ["fork", "forkserver"])
def test_workers_end_with_a_killed_parent(tmp_path, start):
    """A parent that is killed leaves no worker behind."""
    with started(_load, 1, tmp_path / "ranks", True, start) as (process,):
        process.reached("reading")
        process.tell(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        assert _gone(_workers(tmp_path / "ranks"))


def _terminate():
    """End a worker that is in the middle of something, as torch does with one that takes too long."""
    from multiprocessing import get_context

    with workers_start():
        worker = get_context("fork").Process(target=_shielded_sleep)
        worker.start()
    await_mark("shielded", 0)
    worker.terminate()
    worker.join(60)
    return worker.exitcode


def _shielded_sleep():
    shield_worker()
    mark("shielded")
    time.sleep(600)


def test_parent_ends_a_worker(tmp_path):
    """SIGTERM of the parent itself ends a worker."""
    assert results(_terminate, 1, tmp_path / "ranks") == [0]


def test_signals_stay_heard_to_the_end():
    """A command that winds up does not die of a second signal; a block within a program gives signals back."""
    for kept in (True, False):
        before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)}
        try:
            with StopSignals(to_the_end=kept) as signals:
                os.kill(os.getpid(), signal.SIGTERM)
                assert signals.agreed_stop()
            assert (signal.getsignal(signal.SIGTERM) != before[signal.SIGTERM]) is kept
            if kept:
                os.kill(os.getpid(), signal.SIGTERM)
                os.kill(os.getpid(), signal.SIGUSR1)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
