"""What a step makes of the card: its operations per second over those of a large product of matrices."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from framework.cost.step import StageStep

from clip_store_rows.measuring import MissingError, quartiles
from step_rows.building import build
from step_rows.counting import count
from step_rows.line import Bar, Line, Settings, clear, duration, timed
from step_rows.options import fastest
from step_rows.places import load, named

STAGES = (("kinetics_2stage", "base", (64, 32, 16, 8)), ("kinetics_2stage", "full", (32, 16, 8, 4)))
"""Spec, stage, and batches of which the first that fits is taken."""


def utilisation(settings: Settings) -> Iterator[Line]:
    """Stage 1 and the 128x128 stage at full width, all options that pay on the device on."""
    if not settings.cuda and not settings.quick:
        raise MissingError("it is of a GPU, and --device cuda was not given")
    size, kind = (512, torch.float32) if settings.quick else (8192, torch.bfloat16)
    rate = matrix_rate(settings.device, size, kind)
    for spec, stage, batches in (("quickstart", "full", (2,)),) if settings.quick else STAGES:
        step, batch = _largest(settings, spec, stage, batches)
        times = [timed(step, settings.device) for _ in range(max(5, settings.runs))]
        del step
        clear(settings.device)
        found = count(load(spec), stage)
        done = (found.own + found.prefix) * batch
        low, middle, high = quartiles([done / seconds / rate for seconds in times])
        yield Line(
            work=f"{named(spec, stage)}, batch {batch}: operations per second over a {size}^3 product's in {kind}",
            value=middle,
            spread=(low, high),
            bar=Bar(0.35, unit="%"),
            unit="%",
            detail=f"{done / 1e12:.3g} TFLOP in {duration(quartiles(times)[1])}; the product {rate / 1e12:.3g} TFLOP/s",
        )


def matrix_rate(device: torch.device, size: int, kind: torch.dtype) -> float:
    """Floating-point operations per second of ``size``-cubed products of matrices, the best of some tries."""
    a, b = (torch.randn(size, size, device=device).to(kind) for _ in range(2))
    torch.mm(a, b)
    repeats = 10

    def products() -> None:
        for _ in range(repeats):
            torch.mm(a, b)

    return repeats * 2 * size**3 / min(timed(products, device) for _ in range(5))


def _largest(settings: Settings, spec: str, stage: str, batches: tuple[int, ...]) -> tuple[StageStep, int]:
    """A step of the first batch that fits, warmed up."""
    for batch in batches:
        step = _warm(settings, spec, stage, batch)
        if step is not None:
            return step, batch
        clear(settings.device)  # after what failed is gone, with all that its traceback held
    raise RuntimeError(f"{spec} {stage}: not even a batch of {batches[-1]} fits the GPU")


def _warm(settings: Settings, spec: str, stage: str, batch: int) -> StageStep | None:
    """A step that has been made a few times; None where it does not fit."""
    experiment = load(spec)
    training = fastest(experiment.training_of(experiment.graph[stage]), settings, batch)
    try:
        step = build(experiment, stage, training, batch, settings.device)
        for _ in range(3):
            step()
    except torch.OutOfMemoryError:
        return None
    return step
