"""Two runs that must have come to the same end."""

from __future__ import annotations

from pathlib import Path

from tiny_runs import differing, last_checkpoint, metrics_of

from framework.checkpoint import newest_whole
from framework.run_folder import RunFolder


def assert_same_end(run: RunFolder, reference: RunFolder, stages: tuple[str, ...] = ("base", "full")) -> None:
    """Weights, optimizers, statistics, singular vectors, artifacts, metrics and pictures are equal in every bit."""
    for stage in stages:
        newest, warnings = newest_whole(run.checkpoints(stage))
        assert newest is not None
        assert warnings == []
        assert differing(last_checkpoint(run, stage), last_checkpoint(reference, stage)) == []
        assert_same_files(run.artifact(stage), reference.artifact(stage))
        assert metrics_of(run, stage) == metrics_of(reference, stage)
        for picture in sorted(reference.samples(stage).glob("*.png")):
            assert (run.samples(stage) / picture.name).read_bytes() == picture.read_bytes(), picture


def assert_same_files(one: Path, other: Path) -> None:
    """Two folders hold the same files, those of folders inside of them, too."""
    files, others = _files(one), _files(other)
    assert sorted(files) == sorted(others)
    assert [name for name in files if files[name] != others[name]] == []


def _files(folder: Path) -> dict[str, bytes]:
    """What each file in a folder holds, those of folders inside of it, too."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def newest_iteration(run: RunFolder, stage: str) -> int:
    """The iteration of the newest whole checkpoint of a stage; 0 without one."""
    newest, _ = newest_whole(run.checkpoints(stage))
    return int(newest.stem.removeprefix("iter_")) if newest else 0
