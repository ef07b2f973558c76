"""The quickstart, as a command, small enough to train in seconds."""

from __future__ import annotations

import sys
from pathlib import Path

from framework.artifact import MANIFEST

ROOT = Path(__file__).parents[2]
TRAIN = ROOT / "tools" / "train.py"
SPEC = "exp/quickstart.py"

_DISCRIMINATORS = {"base": ("spatial", "temporal"), "full": ("spatial", "temporal", "matching")}
_SMALL = {
    "data": "SyntheticClips",
    "data.clips": 8,
    "data.frames": 16,
    "data.size": 32,
    "training.batch_size": 2,
    "training.standing_passes": 1,
    "training.standing_batch": 2,
    "training.log_every": 1,
    "training.sample_every": 1000,
    "training.samples": 1,
    **{f"stages.{stage}.generator.channels": 1 for stage in _DISCRIMINATORS},
    **{
        f"stages.{stage}.discriminators.{name}.channels": 1
        for stage, names in _DISCRIMINATORS.items()
        for name in names
    },
}


def settings(iterations: int) -> list[str]:
    """``--set`` options for that many iterations of each stage."""
    wanted = {**_SMALL, "training.iterations": iterations, "stages.full.training.iterations": iterations}
    return [text for key, value in wanted.items() for text in ("--set", f"{key}={value}")]


def training(launcher: str, run: Path, iterations: int) -> list[str]:
    """The command that trains it in ``run``; to be called from :data:`ROOT`."""
    return [sys.executable, str(TRAIN), SPEC, "--launcher", launcher, "--work-dir", str(run), *settings(iterations)]


def done(run: Path) -> bool:
    """Whether both stages are."""
    return all((run / stage / "artifact" / MANIFEST).is_file() for stage in _DISCRIMINATORS)
