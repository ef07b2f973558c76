"""Peak memory of a step as predicted (``framework/cost``) beside what it takes: each stage of the paper's cascades."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import torch

from framework.cost.memory import peak_of
from framework.cost.updates import count_updates, windows_of

import memory
from step_rows.building import build
from step_rows.line import Line, Settings, clear
from step_rows.options import with_options
from step_rows.places import load, named

ON_GPU = (("kinetics_2stage", 8), ("bdd_3stage", 8))
"""Spec and batch; each of its stages is measured, at full width."""
PRECISIONS = ("float32", "bfloat16")
ON_CPU = (("kinetics_2stage", "full", 2), ("bdd_3stage", "mid", 2))
"""Spec, stage, batch; networks are narrow, see benchmarks/memory.py, which has more of them."""


def peaks(settings: Settings) -> Iterator[Line]:
    """Predicted over measured: on a GPU all that torch's allocator has given, on a CPU how far a process grows."""
    if settings.cuda:
        yield from _on_gpu(settings)
        return
    for spec, stage, batch in ON_CPU[: 1 if settings.quick else None]:
        changes = memory.SETTINGS[spec]
        predicted, measured = (find(spec, stage, batch, changes) for find in (memory.predict, memory.measure))
        yield _line(f"{named(spec, stage)}, narrow, batch {batch}: float32", predicted, measured)


def _on_gpu(settings: Settings) -> Iterator[Line]:
    cases = [
        (spec, stage, batch, precision)
        for precision in PRECISIONS
        for spec, batch in ON_GPU
        for stage in load(spec).graph.names()
    ]
    # Counting takes a CPU core seconds for each and needs no GPU: all are counted while the first are measured.
    with ProcessPoolExecutor(len(cases), mp_context=get_context("spawn")) as pool:
        predictions: list[Future[tuple[int, str]]] = [pool.submit(predict, *case) for case in cases]
        for (spec, stage, batch, precision), prediction in zip(cases, predictions, strict=True):
            measured, reserved = _measure(settings, spec, stage, batch, precision)
            predicted, instant = prediction.result()
            work = f"{named(spec, stage)}, batch {batch}: {precision}"
            yield _line(work, predicted, measured, f", in {instant}", f", {reserved / 1e9:.3g} GB reserved")


def predict(spec: str, stage: str, batch: int, precision: str) -> tuple[int, str]:
    """Bytes at the peak, as ``tools/summary.py`` says them, and whose update the peak is in."""
    torch.set_num_threads(1)
    experiment = load(spec)
    training = with_options(experiment.training_of(experiment.graph[stage]), {"precision": precision}, batch)
    last = windows_of(experiment, experiment.graph[stage]) - 1
    found = peak_of(count_updates(experiment, stage, training, batch, window=last))
    return found.total, f"the update of {found.update}"


def _measure(settings: Settings, spec: str, stage: str, batch: int, precision: str) -> tuple[int, int]:
    """Bytes allocated at the peak of an iteration, and reserved by then."""
    experiment = load(spec)
    training = with_options(experiment.training_of(experiment.graph[stage]), {"precision": precision}, batch)
    clear(settings.device)
    step = build(experiment, stage, training, batch, settings.device)
    data: Any = step.model.data
    data.draw_window = lambda: data.window(data.starts - 1)  # the one that is predicted
    step()  # Adam's states are made
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    step()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated(), torch.cuda.max_memory_reserved()


def _line(work: str, predicted: int, measured: int, instant: str = "", beside: str = "") -> Line:
    said = f"predicted {predicted / 1e9:.3g} GB{instant}; measured {measured / 1e9:.3g} GB{beside}"
    return Line(work=f"{work}, predicted over measured", value=predicted / measured, unit="", detail=said)
