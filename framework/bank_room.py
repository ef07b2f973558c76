"""Room on the disk for banks of source videos: looked for before the first stage trains, and again as one is made."""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from pathlib import Path

from components.clip import Clip
from framework.build import stage_path
from framework.experiment import Experiment
from framework.graph import Stage
from framework.run_folder import RunFolder
from registry import InputError
from registry.errors import join


def bank_field(stage: Stage) -> str:
    """Where a spec says how many videos the stage's bank has."""
    return join(join(stage_path(stage), "training") if "prefix_bank" in stage.training else "training", "prefix_bank")


def bank_bytes(videos: int, clip: Clip) -> int:
    """What ``videos`` videos of ``clip`` take: one byte a value."""
    return videos * math.prod(clip.shape(1))


def described(videos: int, clip: Clip) -> str:
    """So many videos of a source, and what they take, for a person."""
    return f"{videos} source videos of {clip}, {_megabytes(bank_bytes(videos, clip))}"


def refuse_full_disk(path: Path, clip: Clip, missing: int, there: int, where: str, others: int = 0) -> None:
    """Refuse a bank that the disk has no room for.

    Args:
        path: of the bank, which need not exist.
        clip: of its videos.
        missing: videos still to be made.
        there: videos made already.
        where: place of the problem.
        others: bytes of the free ones that other banks are going to take.

    Raises:
        InputError: on ``where``, saying how many videos would fit.
    """
    folder = next(each for each in path.absolute().parents if each.exists())
    free = max(0, shutil.disk_usage(folder).free - others)
    if bank_bytes(missing, clip) > free:
        what = f"{described(missing, clip)}, are more than the {_megabytes(free)} free in {folder}"
        beside = f" beside the banks of earlier stages ({_megabytes(others)})" if others else ""
        allowed = f"at most {there + free // bank_bytes(1, clip)}"
        raise InputError.of(where, what + beside, allowed)


def refuse_banks(run: RunFolder, experiment: Experiment, stages: Sequence[Stage], *, restart: bool) -> None:
    """Refuse banks that the disk has no room for, before anything is trained or written.

    Args:
        run: where they are to stand.
        experiment: the cascade.
        stages: those that are to train, in their order.
        restart: whether what the folder holds is put aside.

    Raises:
        InputError: on the first bank that does not fit beside those before it.
    """
    taken = 0
    for stage in stages:
        videos = experiment.training_of(stage).prefix_bank
        if videos is None or stage.source is None:
            continue
        clip, path = experiment.graph[stage.source].clip, run.bank(stage.name)
        # Whether what stands there is the bank, and whole, is looked at when the stage begins.
        there = 0 if restart else min(videos, _held(path) // bank_bytes(1, clip))
        refuse_full_disk(path, clip, videos - there, there, bank_field(stage), taken)
        taken += bank_bytes(videos - there, clip)


def _megabytes(size: int) -> str:
    tenths = (size + 50_000) // 100_000  # of integers, as there are sizes that no float holds
    return f"{tenths // 10:,}.{tenths % 10} MB"


def _held(path: Path) -> int:
    """Bytes of the bank at ``path`` or of what is made of it so far."""
    folders = (path, path.with_name(f"{path.name}.partial"))
    return sum(file.stat().st_size for folder in folders for file in folder.rglob("*") if file.is_file())
