"""What surrounds the step: the loader, the loop with its hooks, other ranks."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from components.clip import Clip
from datasets import ClipStore, SyntheticClips
from datasets.store import Settings as StoreSettings
from datasets.writer import StoreWriter
from framework.adversarial_stage import AdversarialStage
from framework.checkpoint import Checkpoints
from framework.experiment import Experiment, Training
from framework.graph import Stage, StageGraph
from framework.hooks import EvaluateHook, MetricsHook, ProgressHook, SampleHook, StageCheckpointHook
from framework.randomness import reseed
from framework.runner import make_runner
from framework.stage_data import PositionBatches, StageClips
from framework.stage_loader import StageLoader
from registry import use

from clip_store_rows.measuring import quartiles
from step_rows.building import build
from step_rows.line import Bar, Line, Settings, clear, duration, timed
from step_rows.options import fastest
from step_rows.places import load, named

ON_CPU = (("quickstart", "full", 1, 16, 24), ("kinetics_2stage", "full", 32, 2, 6))
ON_GPU = (("kinetics_2stage", "base", 2, 32, 40), ("kinetics_2stage", "full", 2, 16, 40))
"""Spec, stage, divisor of the channels, batch, iterations."""
WORKERS = 2
FIRST = 2
"""Iterations left out: the workers start, buffers are made, networks are compiled."""


def loader(settings: Settings) -> Iterator[Line]:
    """Time that the loop waits for batches over all of its time, from a store in memory, two workers reading."""
    for spec, stage, divide, batch, iterations in ON_GPU if settings.cuda else ON_CPU:
        if settings.quick:
            batch, iterations = 2, 4
        with tempfile.TemporaryDirectory(prefix="loader_") as folder:
            yield _waiting(settings, spec, stage, divide, batch, iterations, Path(folder))
        clear(settings.device)
        if settings.quick:
            return


def _waiting(settings: Settings, spec: str, stage: str, divide: int, batch: int, iterations: int, folder: Path) -> Line:
    experiment = load(spec, divide)
    training = fastest(experiment.training_of(experiment.graph[stage]), settings, batch)
    step = build(experiment, stage, training, batch, settings.device)
    store = ClipStore(path=str(_store(folder / "clips.zarr", experiment.graph.clip)))
    clips = StageClips(store, experiment.graph, step.model.data, seed=0)
    positions = PositionBatches(0, iterations, training.discriminator_steps, batch)
    batches = iter(StageLoader(clips, positions, WORKERS))
    waits, wholes = [], []
    for _ in range(iterations):
        started = time.perf_counter()
        data = [next(batches) for _ in range(training.discriminator_steps)]
        waits.append(time.perf_counter() - started)
        whole = timed(lambda data=data: step.model.train_step(data, step.optimizers), settings.device)
        wholes.append(waits[-1] + whole)
    waits, wholes = waits[FIRST:], wholes[FIRST:]
    return Line(
        work=f"{named(spec, stage, divide)}, batch {batch}: waiting for {WORKERS} workers",
        value=sum(waits) / sum(wholes),
        bar=Bar(0.02, least=False, unit="%"),
        unit="%",
        detail=f"{duration(statistics.median(waits))} of {duration(statistics.median(wholes))}",
    )


def _store(path: Path, clip: Clip, clips: int = 32) -> Path:
    """Drawn clips of the size and length that ``clip`` needs."""
    drawn = SyntheticClips(clips=clips, frames=clip.frames, size=clip.height)
    settings = StoreSettings.of(clip.height, clip.width, clip.channels, clip.stride, "none")
    with StoreWriter(path, settings, drawn.classes) as writer:
        for number in range(clips):
            writer.append(str(number), drawn.window(number, 0, clip.frames), drawn.label(number))
        writer.finish({})
    return path


def overhead(settings: Settings) -> Iterator[Line]:
    """From the end of one step to the beginning of the next, in a loop with all hooks and ready batches."""
    iterations = 120 if settings.quick else 500
    training = Training(batch_size=2, iterations=iterations, log_every=20)
    clip = Clip(frames=2, height=8, width=8)
    base = Stage(
        "base",
        clip=clip,
        generator=use("DVDGenerator", channels=4, multipliers=[1], noise_dim=4),
        discriminators={"spatial": use("SpatialDiscriminator", channels=4, multipliers=[1])},
    )
    graph = StageGraph(clip=clip, stages=[base])
    experiment = Experiment(name="small", data=use("SyntheticClips", size=8), graph=graph, training=training)
    step = build(experiment, "base", training, 2, settings.device)
    stamps: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory(prefix="overhead_") as folder:
        _run(Path(folder), step.model, step.optimizers, step.batches[0], training, stamps)
    steps = [end - start for start, end in stamps[FIRST:]]
    gaps = [after[0] - before[1] for before, after in zip(stamps[FIRST:], stamps[FIRST + 1 :], strict=False)]
    logged = [gap for number, gap in enumerate(gaps, start=FIRST + 1) if number % training.log_every == 0]
    others = [gap for number, gap in enumerate(gaps, start=FIRST + 1) if number % training.log_every]
    # Medians, since the machine has other work; every iteration bears its part of a written line.
    written = (statistics.median(logged) - statistics.median(others)) / training.log_every
    low, middle, high = (1e3 * (gap + written) for gap in quartiles(others))
    yield Line(
        work=f"loop, hooks and logging, a line of metrics every {training.log_every} iterations",
        value=middle,
        spread=(low, high),
        bar=Bar(1.0, least=False, unit="ms"),
        unit="ms",
        detail=f"beside a step of {duration(statistics.median(steps))}; an iteration with a line "
        f"{duration(statistics.median(logged))}",
    )


def _run(
    folder: Path,
    model: AdversarialStage,
    optimizers: Any,
    batch: Mapping[str, Tensor],
    training: Training,
    stamps: list[tuple[float, float]],
) -> None:
    """Train with the hooks that :func:`framework.train_stage.train_stage` has, noting each step's begin and end."""
    step = model.train_step

    def noted(*arguments: Any, **options: Any) -> Any:
        started = time.perf_counter()
        log = step(*arguments, **options)
        stamps.append((started, time.perf_counter()))
        return log

    model.train_step = noted  # type: ignore[method-assign]  # what is measured is around it
    progress = ProgressHook("small", 0, training.iterations)
    metrics = MetricsHook(folder / "metrics.jsonl", training.log_every, training.batch_size, lambda *_: None)
    store = Checkpoints(folder / "checkpoints", training.keep_checkpoints, None, ())
    never = 10 * training.iterations
    hooks = [
        progress,
        EvaluateHook(dict, None, metrics.measured),
        metrics,
        SampleHook(folder, never, lambda: {"small": torch.zeros(1, 2, 3, 8, 8)}),
        StageCheckpointHook(store, never, lambda iteration: {"iteration": iteration}, lambda: metrics.latest),
    ]
    (folder / "samples").mkdir()
    steps = training.discriminator_steps
    data: Any = DataLoader([dict(batch)] * (steps * training.iterations), batch_size=None)  # type: ignore[arg-type]
    loop = {
        "first": 0,
        "iterations": training.iterations,
        "per_iteration": steps,
        "reseed": lambda iteration: reseed(0, "small", iteration),
        "stop": lambda: False,
    }
    make_runner("small", model, optimizers, data, loop, hooks, folder / "mmengine", folder / "tensorboard").train()
    progress.close()
