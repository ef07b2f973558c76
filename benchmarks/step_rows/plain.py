"""Our step against the same networks written plainly."""

from __future__ import annotations

import time
from collections.abc import Iterator

import attrs
import torch

from framework.experiment import Experiment, Training
from framework.randomness import reseed

from clip_store_rows.measuring import check
from plain_modules.step import plain_step
from step_rows.building import build
from step_rows.line import Bar, Line, Settings, clear, duration, in_turns, of_ratio
from step_rows.options import fastest, first_losses_apart, to_compile, with_options
from step_rows.places import load, named

ON_CPU = (
    ("quickstart", "base", 1, 16),
    ("quickstart", "full", 1, 16),
    ("folder_64", "mid", 1, 8),
)
ON_GPU = (
    ("kinetics_2stage", "base", 2, 16),
    ("kinetics_2stage", "full", 1, 8),
)
"""Spec, stage, divisor of the channels, batch."""
EQUAL = 1e-8
"""The most that the losses of two iterations may be apart in float64, in parts of 1 and of themselves. (In float32
values on the wrong side of a ReLU's kink, and Adam where a gradient is nearly zero, make 1e-3 of rounding.)"""


def plain(settings: Settings) -> Iterator[Line]:
    """With all options that pay on the device, against fp32, two passes of the discriminators, no fusion.

    On a GPU once more with ``torch.compile``, at the end: it takes minutes before the first step.
    """
    cases = ON_GPU if settings.cuda else ON_CPU
    for case in cases:
        yield from uncompiled(settings, *case)
    for case in cases if settings.cuda else ():
        yield compiled(settings, *case)


def uncompiled(settings: Settings, spec: str, stage: str, divide: int, batch: int) -> Iterator[Line]:
    """Against plain weights that are normalised as ours are, and as torch does it."""
    batch = 2 if settings.quick else batch
    experiment = load(spec, divide)
    training = experiment.training_of(experiment.graph[stage])
    equal = difference(load(spec, 4 * divide), stage, training, settings)
    check(equal <= EQUAL, f"{spec} {stage}: losses are {equal:.1e} apart from those of plain modules")
    for once in (True, False):
        ours = build(experiment, stage, fastest(training, settings, batch), batch, settings.device)
        theirs = plain_step(experiment, stage, training, ours.model, ours.batches, once=once)
        way = "once an update, as ours" if once else "at every call, as torch does"
        work = f"{named(spec, stage, divide)}, batch {batch}; plain weights normalised {way}"
        yield of_ratio(work, in_turns(settings, ours, theirs), _bar(settings), f"{equal:.0e}" if once else "")
        del ours, theirs
        clear(settings.device)


def compiled(settings: Settings, spec: str, stage: str, divide: int, batch: int) -> Line:
    """All options on, compiling too; losses are compared with those of the same options uncompiled."""
    batch = 2 if settings.quick else batch
    experiment = load(spec, divide)
    training = experiment.training_of(experiment.graph[stage])
    fast, networks = fastest(training, settings, batch), to_compile(experiment, stage)
    ours = build(experiment, stage, with_options(fast, {"compile": networks}, batch), batch, settings.device)
    started = time.perf_counter()
    apart = first_losses_apart(build(experiment, stage, fast, batch, settings.device), ours)
    ours()  # compiled again where shapes of statistics have settled
    first = time.perf_counter() - started
    theirs = plain_step(experiment, stage, training, ours.model, ours.batches, once=False)
    work = (
        f"{named(spec, stage, divide)}, batch {batch}; our {' and '.join(networks)} compiled; "
        "plain weights normalised at every call, as torch does"
    )
    line = of_ratio(work, in_turns(settings, ours, theirs), _bar(settings), f"{apart:.0e}")
    del ours, theirs
    clear(settings.device)
    return attrs.evolve(line, detail=f"{line.detail}; first steps {duration(first)}")


def _bar(settings: Settings) -> Bar:
    return Bar(3.0 if settings.cuda else 1.3)


def difference(experiment: Experiment, stage: str, training: Training, settings: Settings) -> float:
    """How far apart the losses of two iterations are, from the same weights, noise, windows and frames."""
    torch.set_default_dtype(torch.float64)
    try:
        ours = build(experiment, stage, training, 2, settings.device)
        theirs = plain_step(experiment, stage, training, ours.model, ours.batches, once=True)
        apart = 0.0
        for iteration in range(2):
            reseed(0, iteration)
            own = ours()
            reseed(0, iteration)
            for name, value in theirs().items():
                apart = max(apart, abs(float(own[name]) - float(value)) / max(1.0, abs(float(value))))
    finally:
        torch.set_default_dtype(torch.float32)
    return apart
