"""The cascades' stages against a DVD-GAN of the same output: memory and time of a step."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from framework.cost.step import StageStep
from framework.experiment import Experiment

from step_rows.building import build
from step_rows.line import Bar, Line, Settings, clear, in_turns, of_ratio
from step_rows.options import fastest
from step_rows.places import ROOT, load

CASES = (("kinetics_2stage", 50, "600"), ("bdd_3stage", 100, "null"))
"""A cascade, its output's frames, and its classes."""
NARROW = 16
"""What channels are divided by on a CPU."""
OURS = ("kinetics_2stage", "dvd_gan_48")


def dvd_gan(frames: int, classes: str = "600", divide: int = 1) -> Experiment:
    """The single-stage baseline at 128x128 and so many frames."""
    changes = (f"graph.clip.frames={frames}", f"stages.full.clip.frames={frames}", f"graph.classes={classes}")
    return load("dvd_gan_12", divide, changes)


def memory(settings: Settings) -> Iterator[Line]:
    """The peak of one step, in a process of its own each: of the costliest stage, against the DVD-GAN's."""
    divide = 64 if settings.quick else 1 if settings.cuda else NARROW
    for spec, frames, classes in CASES[: 1 if settings.quick else None]:
        each = {name: _peak(settings, spec, (), name, divide) for name in load(spec).graph.names()}
        baseline = (f"graph.clip.frames={frames}", f"stages.full.clip.frames={frames}", f"graph.classes={classes}")
        whole = _peak(settings, "dvd_gan_12", baseline, "full", divide)
        stages = ", ".join(f"{name} {peak / 1e6:.0f} MB" for name, peak in each.items())
        yield Line(
            work=f"`{spec}`, batch 1, channels / {divide}: DVD-GAN 128x128/{frames} over the costliest stage",
            value=whole / max(each.values()),
            bar=Bar(4.0),
            detail=f"{stages}; DVD-GAN {whole / 1e6:.0f} MB",
        )


def time(settings: Settings) -> Iterator[Line]:
    """A step of each of the stages, one after the other, against a step of DVD-GAN 128x128/48."""
    divide, batch = (64, 1) if settings.quick else (1, 2) if settings.cuda else (NARROW, 1)
    cascade = load("kinetics_2stage", divide)
    ours = [_step(cascade, name, batch, settings) for name in cascade.graph.names()]
    theirs = _step(load("dvd_gan_48", divide), "full", batch, settings)

    def stages() -> None:
        for step in ours:
            step()

    runs = 2 if settings.quick else max(3, settings.runs // 2)
    for _ in range(1 if settings.cuda else 0):
        stages()
        theirs()
    work = f"`kinetics_2stage`, batch {batch}, channels / {divide}: DVD-GAN 128x128/48 over the sum of the stages"
    yield of_ratio(work, in_turns(settings, stages, theirs, runs), Bar(2.0))
    clear(settings.device)


def _step(experiment: Experiment, name: str, batch: int, settings: Settings) -> StageStep:
    training = fastest(experiment.training_of(experiment.graph[name]), settings, batch)
    return build(experiment, name, training, batch, settings.device)


def _peak(settings: Settings, spec: str, changes: tuple[str, ...], stage: str, divide: int) -> int:
    """Bytes, on a CPU measured in a process of its own."""
    if settings.cuda:
        clear(settings.device)
        torch.cuda.reset_peak_memory_stats()
        found = _peak_here(load(spec, divide, changes), stage, settings.device)
        clear(settings.device)
        return found
    asked = {"spec": spec, "changes": changes, "stage": stage, "divide": divide}
    here = os.pathsep.join([str(ROOT), str(ROOT / "benchmarks"), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", "from step_rows.against_dvd_gan import peak; peak()", json.dumps(asked)],
        capture_output=True,
        text=True,
        check=False,
        # Large tensors' memory goes back at once: kept for later ones, as by default, it would count as in use.
        env={**os.environ, "PYTHONPATH": here, "MALLOC_MMAP_THRESHOLD_": "65536"},
    )
    if done.returncode:
        raise RuntimeError(f"{spec} {stage}: {done.stderr.strip().splitlines()[-1]}")
    return int(done.stdout.split()[-1])


def peak() -> None:
    """Print the peak bytes of the step in the command line, its weights included."""
    asked: dict[str, Any] = json.loads(sys.argv[1])
    torch.set_num_threads(1)
    experiment = load(asked["spec"], asked["divide"], tuple(asked["changes"]))
    print(_peak_here(experiment, asked["stage"], torch.device("cpu")))


def _peak_here(experiment: Experiment, stage: str, device: torch.device) -> int:
    before = torch.cuda.memory_allocated() if device.type == "cuda" else _in_memory("VmRSS")
    step = build(experiment, stage, experiment.training_of(experiment.graph[stage]), 1, device)
    step()
    return (torch.cuda.max_memory_allocated() if device.type == "cuda" else _in_memory("VmHWM")) - before


def _in_memory(what: str) -> int:
    """Bytes of this process: resident now (``VmRSS``), or the most there were (``VmHWM``)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        name, _, amount = line.partition(":")
        if name == what:
            return int(amount.split()[0]) * 1024
    raise RuntimeError(f"/proc/self/status has no {what}")
