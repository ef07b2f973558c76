"""Faults of one process among several, or of its loader: all end, with one line, and the command carries on."""

import multiprocessing
import os
import signal

import pytest
from commands import at_step, await_go, ended, errors, finished, go, mark, training
from same_end import assert_same_end, newest_iteration
from tiny_runs import two_stages

from framework.checkpoint import Checkpoints
from framework.run_folder import RunFolder

EXPERIMENT = two_stages(iterations=4, checkpoint_every=1, sample_every=4, samples=1, standing_passes=2, workers=1)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The runs that nothing happened to, by the number of their processes."""
    folder = tmp_path_factory.mktemp("whole")
    return {world: finished(EXPERIMENT, folder / f"run{world}", folder / "scratch", world=world) for world in (1, 2)}


def _carries_on(whole, run, scratch, world):
    """The same command again comes to the same end."""
    assert_same_end(finished(EXPERIMENT, run.path, scratch, world=world), whole[world], ("base",))


def _killed(rank: int) -> None:
    at_step(3, lambda model: os.kill(os.getpid(), signal.SIGKILL), rank=rank)


@pytest.mark.parametrize("lost", [0, 1])
def test_a_killed_rank(whole, tmp_path, lost):
    """The other ends with one line that names it and the code for a requeue; the run carries on bit for bit."""
    run, scratch = RunFolder(tmp_path / "run"), tmp_path / "scratch"
    both = ended(EXPERIMENT, run.path, scratch, _killed, lost, world=2)
    assert both[lost].wait() == -signal.SIGKILL
    assert both[1 - lost].wait() == 75
    [line] = errors(both[1 - lost])
    assert f"rank {lost} (host " in line
    assert f"pid {both[lost].pid})" in line
    assert newest_iteration(run, "base") == 2
    _carries_on(whole, run, scratch, 2)


def _kills_its_loader(rank: int) -> None:
    def kill(model) -> None:
        for worker in multiprocessing.active_children():
            os.kill(worker.pid, signal.SIGKILL)

    at_step(2, kill, rank=rank)


@pytest.mark.parametrize(("world", "rank"), [(1, 0), (2, 0), (2, 1)])
def test_a_killed_loader_worker(whole, tmp_path, world, rank):
    """One line that says so and whose it was, the code for a requeue in all ranks; carries on bit for bit."""
    run, scratch = RunFolder(tmp_path / "run"), tmp_path / "scratch"
    processes = ended(EXPERIMENT, run.path, scratch, _kills_its_loader, rank, world=world)
    assert [each.wait() for each in processes] == [75] * world
    [line] = errors(processes[rank])
    assert "base: DataLoader worker" in line
    assert "killed by signal: Killed" in line
    assert line.endswith("the same command carries on from the last checkpoint")
    assert world == 1 or f"rank {rank}" in line
    assert newest_iteration(run, "base") in (1, 2)  # the signal may come amid the iteration or after it
    _carries_on(whole, run, scratch, world)


def _waits_in(where: str) -> None:
    """Rank 0, or every rank, says that it is there, and waits."""
    if where == "step":
        at_step(2, lambda model: (mark("there"), await_go()))
        return
    save, calls = Checkpoints.save, []

    def waiting(*arguments):
        calls.append(1)
        if len(calls) == 2:
            mark("there")
            await_go()
        return save(*arguments)

    Checkpoints.save = waiting


@pytest.mark.parametrize(
    ("where", "sent", "code"),
    [
        ("step", [(1, signal.SIGTERM)], 75),
        ("step", [(0, signal.SIGUSR1)], 75),
        ("step", [(1, signal.SIGTERM), (1, signal.SIGTERM)], 75),
        ("step", [(1, signal.SIGUSR1), (1, signal.SIGUSR1), (0, signal.SIGTERM)], 75),
        ("save", [(0, signal.SIGTERM), (0, signal.SIGUSR1)], 75),
        ("save", [(1, signal.SIGUSR1), (1, signal.SIGUSR1)], 75),
        ("step", [(1, signal.SIGINT)], 130),
        ("save", [(0, signal.SIGINT)], 130),
    ],
    ids=lambda value: "+".join(f"{s.name} to {r}" for r, s in value) if isinstance(value, list) else str(value),
)
def test_a_signal_to_one_rank(whole, tmp_path, where, sent, code):
    """Once, twice, in a step, during a save: all stop after one step with its checkpoint, and carry on from it."""
    run, scratch = RunFolder(tmp_path / "run"), tmp_path / "scratch"
    with training(EXPERIMENT, run.path, scratch, _waits_in, where, world=2) as processes:
        processes[0].reached("there")
        for rank, number in sent:
            processes[rank].tell(number)
        go(scratch)
        assert [each.wait() for each in processes] == [code] * 2
    lines = [line for each in processes for line in errors(each) if line.startswith(("stopped", "error"))]
    strongest = max((number for _, number in sent), key=[signal.SIGINT, signal.SIGUSR1, signal.SIGTERM].index)
    stopped = newest_iteration(run, "base")
    assert lines == [
        f"stopped by {strongest.name} at iteration {stopped} of base; the same command carries on from there"
    ]
    assert stopped in (2, 3, 4)
    _carries_on(whole, run, scratch, 2)


def test_ctrl_c(whole, tmp_path):
    """One process: exit code 130 after the iteration, with its checkpoint; carries on bit for bit."""
    run, scratch = RunFolder(tmp_path / "run"), tmp_path / "scratch"
    with training(EXPERIMENT, run.path, scratch, _waits_in, "step") as [process]:
        process.reached("there")
        process.tell(signal.SIGINT)
        go(scratch)
        assert process.wait() == 130
    assert errors(process)[-1] == "stopped by SIGINT at iteration 2 of base; the same command carries on from there"
    assert newest_iteration(run, "base") == 2
    _carries_on(whole, run, scratch, 1)
