"""Where the time of a step goes, before and after: the plain modules beside ours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn
from torch.autograd.profiler_util import FunctionEvent
from torch.nn.utils.parametrizations import _SpectralNorm
from torch.profiler import ProfilerActivity, profile, record_function

from components.layers import spectral_norm as our_spectral_norm
from framework.cascade import Cascade

from plain_modules.networks import Generator
from plain_modules.step import plain_step
from step_rows.building import build
from step_rows.line import Settings, clear
from step_rows.options import FASTEST, with_options
from step_rows.places import load, named

ON_CPU = (("quickstart", "base", 1, 16), ("quickstart", "full", 1, 16))
ON_GPU = (("kinetics_2stage", "base", 1, 16), ("kinetics_2stage", "full", 1, 8))
"""Spec, stage, divisor of the channels, batch."""
KINDS = (
    ("convolutions", ("conv",)),
    ("products of matrices", ("mm", "mv", "dot", "linear")),
    ("batch norms", ("batch_norm",)),
    ("pooling, upsampling", ("pool", "upsample", "interpolate")),
    ("sums and norms", ("sum", "mean", "norm", "argsort", "sort")),
    ("copies", ("copy", "cat", "stack", "clone", "contiguous", "fill", "zero", "index", "repeat", "_to_")),
)
"""Kinds of operations by what their names contain; the first that fits counts, and the rest is element by element."""
RANGES = ("spectral norms, forward", "frozen stages", "Adam")


def tables(settings: Settings) -> Iterator[str]:
    """A table for each stage: milliseconds of an iteration by kind of operation, plain and ours."""
    for spec, stage, divide, batch in ON_GPU if settings.cuda else ON_CPU:
        batch = 2 if settings.quick else batch
        experiment = load(spec, divide)
        training = experiment.training_of(experiment.graph[stage])
        # Not compiled: what a compiled kernel does has no name.
        fast = {name: value for name, value in FASTEST[settings.device.type].items() if name != "compile"}
        ours = build(experiment, stage, with_options(training, fast, batch), batch, settings.device)
        before = _by_kind(settings, plain_step(experiment, stage, training, ours.model, ours.batches, once=False))
        after = _by_kind(settings, ours)
        yield f"{named(spec, stage, divide)}, batch {batch}, ms of an iteration"
        yield ""
        yield "| | plain | ours |"
        yield "| --- | --- | --- |"
        for kind in [*RANGES, *(name for name, _ in KINDS), "element by element"]:
            yield f"| {kind} | {before[kind]:.1f} | {after[kind]:.1f} |"
        yield f"| **all** | {sum(before.values()):.1f} | {sum(after.values()):.1f} |"
        yield ""
        del ours
        clear(settings.device)


def _by_kind(settings: Settings, step: Callable[[], object]) -> Counter[str]:
    """Milliseconds of one iteration, each operation's own time, by kind."""
    step()
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if settings.cuda else [])]
    with _named_ranges(), profile(activities=activities) as found:
        step()
    taken: Counter[str] = Counter()
    for event in found.events() or ():
        own = event.self_device_time_total if settings.cuda else event.self_cpu_time_total
        if event.device_type == torch.autograd.DeviceType.CPU:  # kernels are counted with what started them
            taken[_kind(event)] += own / 1e3
    return taken


def _kind(event: FunctionEvent) -> str:
    """The range that an operation ran in, or the kind that its name says."""
    above: Any = event
    while above is not None:
        if above.name in RANGES:
            return str(above.name)
        if above.name.startswith("Optimizer.step"):
            return "Adam"
        above = above.cpu_parent
    name = event.name.lower()
    for kind, parts in KINDS:
        if any(part in name for part in parts):
            return kind
    return "element by element"


@contextmanager
def _named_ranges() -> Iterator[None]:
    """Ranges of the profile around what has no operation of its own name."""
    with ExitStack() as stack:
        stack.enter_context(_named(_SpectralNorm, "forward", RANGES[0]))
        stack.enter_context(_named(our_spectral_norm_class(), "forward", RANGES[0]))
        stack.enter_context(_named(Cascade, "frames", RANGES[1]))
        stack.enter_context(_frozen_plain())
        yield


def our_spectral_norm_class() -> type[nn.Module]:
    """The parametrization of our weights."""
    layer = our_spectral_norm(nn.Linear(2, 2))
    return type(layer.parametrizations["weight"][0])  # type: ignore[index,return-value,union-attr]


@contextmanager
def _named(owner: type, method: str, name: str) -> Iterator[None]:
    original = getattr(owner, method)

    def within(*arguments: Any, **options: Any) -> Any:
        with record_function(name):
            return original(*arguments, **options)

    setattr(owner, method, within)
    try:
        yield
    finally:
        setattr(owner, method, original)


@contextmanager
def _frozen_plain() -> Iterator[None]:
    """A plain generator in evaluation mode is a frozen stage."""
    original = Generator.forward

    def within(self: Generator, *arguments: Any, **options: Any) -> Any:
        if self.training:
            return original(self, *arguments, **options)
        with record_function(RANGES[1]):
            return original(self, *arguments, **options)

    Generator.forward = within  # type: ignore[method-assign]
    try:
        yield
    finally:
        Generator.forward = original  # type: ignore[method-assign]
