"""kill -9 at any moment, fifty times: the same command carries on to the end of a run never killed."""

import contextlib
import io
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from commands import at_step, ended, finished
from same_end import assert_same_end
from tiny_runs import two_stages

from framework import checkpoint
from framework.run_folder import RunFolder

KILLS = 50
EXPERIMENT = two_stages(iterations=5, checkpoint_every=1, sample_every=5, samples=1, standing_passes=2)
FILE_EVENTS = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.listdir", "os.scandir"}


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _at_a_moment(seed: int, run: Path) -> None:
    """Some time after an iteration has begun, whatever the process does then."""
    chance = np.random.default_rng(seed)
    delay = chance.uniform(0.0, 0.2)

    def soon(model) -> None:
        threading.Thread(target=lambda: (time.sleep(delay), _die()), daemon=True).start()

    at_step(int(chance.integers(1, 4)), soon)


def _at_a_file_operation(seed: int, run: Path) -> None:
    """Before a file or folder of the run is opened, renamed, made, removed or looked through."""
    left = int(np.random.default_rng(seed).integers(1, 60))

    def watching(event: str, arguments: tuple) -> None:
        nonlocal left
        if event in FILE_EVENTS and arguments and str(arguments[0]).startswith(str(run)):
            left -= 1
            if left == 0:
                _die()

    sys.addaudithook(watching)


def _amid_a_checkpoint(seed: int, run: Path) -> None:
    """With some of a checkpoint's bytes written."""
    chance, save = np.random.default_rng(seed), checkpoint.torch.save
    left = int(chance.integers(1, 3))

    def torn(state, file) -> None:
        nonlocal left
        left -= 1
        if left:
            return save(state, file)
        whole = io.BytesIO()
        save(state, whole)
        file.write(whole.getvalue()[: int(chance.integers(0, whole.tell()))])
        file.flush()
        return _die()

    checkpoint.torch.save = torn


WAYS = (_at_a_moment, _at_a_file_operation, _amid_a_checkpoint)


def test_fifty_kills(tmp_path):
    """By time, by file operation and amid a checkpoint in turn; as many runs as that takes, each to the same end."""
    reference = finished(EXPERIMENT, tmp_path / "whole", tmp_path / "scratch", stage=None)
    kills, tries, torn, runs = 0, 0, 0, [tmp_path / "run0"]
    while kills < KILLS:
        way = WAYS[kills % len(WAYS)]
        [process] = ended(EXPERIMENT, runs[-1], tmp_path / "scratch", way, tries, runs[-1], stage=None)
        tries += 1
        if process.wait() == 0:  # the run ended before its time
            assert_same_end(RunFolder(runs[-1]), reference)
            runs.append(tmp_path / f"run{len(runs)}")
        else:
            assert process.wait() == -signal.SIGKILL, process.err
            kills += 1
            torn += any(runs[-1].rglob("*.pt.partial"))
    assert torn >= KILLS // len(WAYS)
    assert_same_end(finished(EXPERIMENT, runs[-1], tmp_path / "scratch", stage=None), reference)


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("call", range(1, 12))
def test_the_best_outlives_a_kill(tmp_path, monkeypatch, call):
    """Stopped before any of its small files is written and taken up, a run keeps the checkpoint it would have kept."""
    losses, write, calls = {1: 0.5, 2: 0.1, 3: 0.4, 4: 0.05, 5: 0.3, 6: 0.2}, checkpoint.write_whole, []

    def dying(path, text):
        calls.append(path)
        if len(calls) == call:
            raise Killed
        write(path, text)

    monkeypatch.setattr(checkpoint, "write_whole", dying)
    store, done = checkpoint.Checkpoints(tmp_path, keep=1, best="min:loss_D"), False
    while not done:
        newest, _ = checkpoint.newest_whole(tmp_path)
        first = int(newest.stem.removeprefix("iter_")) + 1 if newest else 1
        with contextlib.suppress(Killed):
            for iteration in range(first, max(losses) + 1):
                store.save(iteration, {"iteration": iteration}, {"loss_D": losses[iteration]})
            done = True
    assert json.loads((tmp_path / "best.json").read_text())["iteration"] == 4
    assert {path.stem for path in tmp_path.glob("*.json")} >= {"iter_00000004", "iter_00000006"}
