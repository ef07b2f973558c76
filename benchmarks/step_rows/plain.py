"""Our step against the same networks written plainly."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from framework.experiment import Experiment, Training
from framework.randomness import reseed

from clip_store_rows.measuring import check
from plain_modules.step import plain_step
from step_rows.building import build
from step_rows.line import Bar, Line, Settings, clear, in_turns, of_ratio
from step_rows.options import fastest
from step_rows.places import load, named

ON_CPU = (
    ("quickstart", "base", 1, 16),
    ("quickstart", "full", 1, 16),
    ("folder_64", "mid", 1, 8),
)
ON_GPU = (
    ("kinetics_2stage", "base", 2, 16),
    ("kinetics_2stage", "full", 2, 8),
    ("kinetics_2stage", "full", 1, 8),
)
"""Spec, stage, divisor of the channels, batch."""
EQUAL = 1e-8
"""The most that the losses of two iterations may be apart in float64, in parts of 1 and of themselves. (In float32
values on the wrong side of a ReLU's kink, and Adam where a gradient is nearly zero, make 1e-3 of rounding.)"""


def plain(settings: Settings) -> Iterator[Line]:
    """With all options that pay on the device, against fp32, two passes of the discriminators, no fusion."""
    bar = Bar(3.0 if settings.cuda else 1.3)
    for spec, stage, divide, batch in ON_GPU if settings.cuda else ON_CPU:
        batch = 2 if settings.quick else batch
        experiment = load(spec, divide)
        training = experiment.training_of(experiment.graph[stage])
        equal = difference(load(spec, 4 * divide), stage, training, settings)
        check(equal <= EQUAL, f"{spec} {stage}: losses are {equal:.1e} apart from those of plain modules")
        for once in (True, False):
            ours = build(experiment, stage, fastest(training, settings, batch), batch, settings.device)
            theirs = plain_step(experiment, stage, training, ours.model, ours.batches, once=once)
            for _ in range(2):  # the second compiles again where shapes of statistics have settled
                ours()
            way = "once an update, as ours" if once else "at every call, as torch does"
            work = f"{named(spec, stage, divide)}, batch {batch}; plain weights normalised {way}"
            yield of_ratio(work, in_turns(settings, ours, theirs), bar, f"{equal:.0e}" if once else "")
            del ours, theirs
            clear(settings.device)


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
