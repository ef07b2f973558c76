"""The place where a run lies: full, not to be written, in use, or that of another run."""

import contextlib
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import attrs
import numpy as np
import pytest
from commands import at_step, await_go, ended, errors, finished, go, mark, training
from same_end import assert_same_end, newest_iteration
from tiny_runs import two_stages

from datasets.store import Settings
from datasets.writer import StoreWriter
from framework import artifact, checkpoint, hooks, run_folder, use
from framework.check_data import open_data
from framework.run_folder import RunFolder

EXPERIMENT = two_stages(iterations=3, checkpoint_every=1, sample_every=3, samples=1, standing_passes=2)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The run that nothing happened to."""
    folder = tmp_path_factory.mktemp("whole")
    return finished(EXPERIMENT, folder / "run", folder / "scratch")


@contextlib.contextmanager
def mounted(*arguments: str | Path):
    """A mount, undone whatever happens; skips where mounting is not allowed."""
    *_, place = arguments
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"cannot mount: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


def _fill(disk: Path, room: int) -> None:
    """Leave ``room`` bytes of the disk."""
    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
    (disk / "filler").write_bytes(bytes(free - room))


def _full_when(disk: Path, where: str) -> None:
    """Let the disk be full just before something is written."""
    targets = {
        "checkpoint": (checkpoint.torch, "save", 2),
        "picture": (hooks, "save_picture", 1),
        "film": (hooks, "save_film", 1),
        "artifact": (artifact, "save_tensors", 1),
    }
    target, name, number = targets[where]
    original, calls = getattr(target, name), []

    def filling(*args, **kwargs):
        calls.append(1)
        if len(calls) == number:
            _fill(disk, 8192 if where == "checkpoint" else 0)  # some of a checkpoint can be written
        return original(*args, **kwargs)

    setattr(target, name, filling)


@pytest.mark.parametrize(
    ("where", "file", "stands"),
    [
        ("checkpoint", "base/checkpoints/iter_00000002.pt", 1),
        ("picture", "base/samples/iter_00000003.png", 2),
        ("film", "base/samples/iter_00000003.mp4", 2),
        ("artifact", "base/artifact", 3),
    ],
)
def test_disk_full(whole, tmp_path, where, file, stands):
    """One line that names the file, exit code 2, earlier checkpoints whole; with room again the run carries on."""
    disk = tmp_path / "disk"
    disk.mkdir()
    with mounted("-t", "tmpfs", "-o", "size=16m", "tmpfs", disk):
        run = RunFolder(disk / "run")
        [process] = ended(EXPERIMENT, run.path, tmp_path / "scratch", _full_when, disk, where)
        assert process.wait() == 2, process.err
        [line] = errors(process)
        assert line.startswith(f"error: {run.path / file}")
        assert "No space left on device" in line
        assert newest_iteration(run, "base") == stands
        assert not list(run.path.rglob("*.pt.partial"))  # it would keep the disk full
        (disk / "filler").unlink()
        assert_same_end(finished(EXPERIMENT, run.path, tmp_path / "scratch"), whole, ("base",))


def test_read_only(tmp_path):
    """A folder on a disk that cannot be written, new or with a run in it: one line, exit code 2."""
    disk = tmp_path / "disk"
    (disk / "begun").mkdir(parents=True)
    run_folder.RunFolder(disk / "begun").begin(EXPERIMENT, open_data(EXPERIMENT).fingerprint)
    with mounted("--bind", disk, disk):
        remounted = subprocess.run(["mount", "-o", "remount,bind,ro", disk], check=False)
        if remounted.returncode:
            pytest.skip("cannot mount a folder to be read alone")
        for name, named in (("new", disk), ("begun", disk / "begun")):
            [process] = ended(EXPERIMENT, disk / name, tmp_path / "scratch")
            assert process.wait() == 2
            assert errors(process) == [f"error: {named}: cannot be written; allowed: a --work-dir that can"]


def _wait_in_step_2() -> None:
    at_step(2, lambda model: (mark("amid"), await_go()))


def test_in_use(whole, tmp_path):
    """A second command in the folder of a run is refused, with --restart as well; the first is not disturbed."""
    run = RunFolder(tmp_path / "run")
    with training(EXPERIMENT, run.path, tmp_path / "first", _wait_in_step_2) as [first]:
        first.reached("amid")
        for options in ((), ("--restart",)):
            [second] = ended(EXPERIMENT, run.path, tmp_path / "second", options=options)
            assert second.wait() == 2
            assert errors(second) == [f"error: {run.path}: another process trains in it; allowed: another --work-dir"]
        go(tmp_path / "first")
        assert first.wait() == 0, first.err
    assert_same_end(run, whole, ("base",))


def _digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


OTHERS = {
    "spec": attrs.evolve(EXPERIMENT, seed=1),
    "data": attrs.evolve(EXPERIMENT, data=use("SyntheticClips", clips=9, frames=10, size=8)),
}


def _stop_in_step_2() -> None:
    at_step(2, lambda model: os._exit(9))


@pytest.mark.parametrize("changed", OTHERS)
def test_another_run(whole, tmp_path, changed):
    """With another spec, other data in it, nothing is touched; --restart puts the old run aside, whole."""
    run, scratch = RunFolder(tmp_path / "run"), tmp_path / "scratch"
    ended(EXPERIMENT, run.path, scratch, _stop_in_step_2)
    before = _digests(run.path)
    [process] = ended(OTHERS[changed], run.path, scratch)
    assert process.wait() == 2
    [line] = errors(process)
    assert line.startswith(f"error: {run.path}: holds a run of another spec (")
    assert line.endswith("another --work-dir, or --restart")
    assert _digests(run.path) == before
    finished(OTHERS[changed], run.path, scratch, options=["--restart"])
    aside = tmp_path / "run.old-1"
    assert _digests(aside) == before
    shutil.rmtree(run.path)
    aside.rename(run.path)
    assert_same_end(finished(EXPERIMENT, run.path, scratch), whole, ("base",))


def _store(path: Path, seed: int) -> None:
    """A clip store of random clips of four classes."""
    random = np.random.default_rng(seed)
    settings = Settings.of(8, 8, 3, 1, "none")
    with StoreWriter(path, settings, ("a", "b", "c", "d")) as writer:
        for number in range(8):
            clip = random.integers(0, 256, (10, 8, 8, 3), dtype=np.uint8)
            writer.append(f"video_{number}.mp4", clip, number % 4)
        writer.finish({"made": "by a test"})


def test_another_store(tmp_path):
    """Where the store was made anew with other clips, the run is refused with nothing touched; put back, it goes on."""
    store, run, scratch = tmp_path / "store.zarr", RunFolder(tmp_path / "run"), tmp_path / "scratch"
    _store(store, 0)
    experiment = attrs.evolve(EXPERIMENT, data=use("ClipStore", path=str(store)))
    whole = finished(experiment, tmp_path / "whole", scratch)
    ended(experiment, run.path, scratch, _stop_in_step_2)
    store.rename(tmp_path / "aside")
    _store(store, 1)
    before = _digests(run.path)
    [process] = ended(experiment, run.path, scratch)
    assert process.wait() == 2
    [line] = errors(process)
    assert line.startswith(f"error: {run.path}: holds a run on other data (fingerprint ")
    assert _digests(run.path) == before
    shutil.rmtree(store)
    (tmp_path / "aside").rename(store)
    assert_same_end(finished(experiment, run.path, scratch), whole, ("base",))
