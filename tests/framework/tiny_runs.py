"""Experiments small enough to train in a second, for the tests of this folder."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path

import attrs
import torch

from framework import Clip, Experiment, Stage, StageGraph, Training, use
from framework.checkpoint import load_checkpoint, newest_whole
from framework.run_folder import RunFolder
from framework.train import train

GENERATOR = {"channels": 2, "multipliers": [2, 1], "noise_dim": 4, "embedding_dim": 3}
DISCRIMINATOR = {"channels": 2, "multipliers": [1, 2]}

VARYING = {"clips_per_second", "memory_mb"}
"""Metrics of which no two runs need have the same."""

QUICK = Training(
    batch_size=4,
    iterations=4,
    generator_lr=1e-2,
    discriminator_lr=1e-2,
    standing_passes=3,
    standing_batch=4,
    workers=0,
    log_every=1,
    checkpoint_every=2,
    sample_every=2,
    samples=3,
)


def base_stage(clip: Clip, **changes) -> Stage:
    """A base stage with a temporal discriminator."""
    fields = {
        "clip": clip,
        "generator": use("DVDGenerator", **{**GENERATOR, "multipliers": [2]}),
        "discriminators": {"temporal": use("TemporalDiscriminator", **DISCRIMINATOR, pool=1)},
    }
    return Stage("base", **{**fields, **changes})


def upsampling_stage(name: str, source: str, clip: Clip, **changes) -> Stage:
    """A stage with twice the frames and pixels of its source, in windows of four frames."""
    fields = {
        "clip": clip,
        "source": source,
        "view": use("NearestView", time=2, space=2),
        "window": 4,
        "generator": use("UpsamplingGenerator", **GENERATOR),
        "discriminators": {
            "spatial": use("SpatialDiscriminator", **DISCRIMINATOR, frames=2),
            "matching": use("MatchingDiscriminator", **DISCRIMINATOR),
        },
    }
    return Stage(name, **{**fields, **changes})


def two_stages(*, classes: int | None = 4, name: str = "tiny", full: dict | None = None, **training) -> Experiment:
    """4x4/4 to 8x8/8 on drawn clips."""
    graph = StageGraph(
        clip=Clip(8, 8, 8),
        classes=classes,
        stages=[
            base_stage(Clip(4, 4, 4, stride=2)),
            upsampling_stage("full", "base", Clip(8, 8, 8), **(full or {})),
        ],
    )
    data = use("SyntheticClips", clips=8, frames=10, size=8)
    return Experiment(name=name, data=data, graph=graph, training=attrs.evolve(QUICK, **training))


def run_of(experiment: Experiment, folder: Path, **options) -> RunFolder:
    """The run trained in ``folder``."""
    with warnings.catch_warnings():
        # MMEngine tells the runners of a process apart by name and second; tests start several in one.
        warnings.filterwarnings("ignore", message=".*instance named of .* has been created")
        return train(experiment, folder, **options)


def copy_of(run: RunFolder, folder: Path) -> RunFolder:
    """A copy to be tampered with."""
    return RunFolder(shutil.copytree(run.path, folder))


def flip_byte(path: Path, place: int = -1) -> None:
    """Damage a file."""
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def metrics_of(run: RunFolder, stage: str) -> list[dict]:
    """The lines of a stage's ``metrics.jsonl``, less the values that depend on the clock and on the process."""
    lines = [json.loads(line) for line in run.metrics(stage).read_text().splitlines()]
    return [{name: value for name, value in line.items() if name not in VARYING} for line in lines]


def last_checkpoint(run: RunFolder, stage: str) -> dict:
    """What the newest checkpoint of a stage holds."""
    return torch.load(max(run.checkpoints(stage).glob("iter_*.pt")), weights_only=True)


def load_latest(folder: Path) -> tuple[dict | None, list[str]]:
    """The newest whole checkpoint in a folder, and the warnings about newer ones."""
    path, warnings = newest_whole(folder)
    return None if path is None else load_checkpoint(path), warnings


def differing(one, other, path: str = "") -> list[str]:
    """Paths at which two nested states differ in any bit; empty when they are equal."""
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        return [found for key in one for found in differing(one[key], other[key], f"{path}/{key}")]
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)) and len(one) == len(other):
        pairs = enumerate(zip(one, other, strict=True))
        return [found for index, (a, b) in pairs for found in differing(a, b, f"{path}/{index}")]
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        same = one.dtype == other.dtype and torch.equal(one, other)
    else:
        same = type(one) is type(other) and one == other
    return [] if same else [path]
