"""The options of a step that cost or bring something, each alone, and those that pay together."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

import attrs
import torch
from torch import Tensor, nn

from framework.cost.step import StageStep
from framework.experiment import Experiment, Training
from framework.randomness import deterministic, reseed

from step_rows.building import build
from step_rows.line import Bar, Line, Settings, clear, duration, in_turns
from step_rows.places import load, named

ALONE: dict[str, Mapping[str, Any]] = {
    "bfloat16": {"precision": "bfloat16"},
    "float16": {"precision": "float16"},
    "activation checkpointing": {"activation_checkpointing": True},
    "two parts": {"clips_per_gpu": "half"},
    "compile": {"compile": ("discriminators",)},
    "x_l once an iteration": {"prefix": "iteration"},
    "power iterations by layer": {"power_iterations": "by layer"},
    "bfloat16, checkpointing": {"precision": "bfloat16", "activation_checkpointing": True},
}
"""Changes of ``Training`` by the name that tables give them. Its yes-or-no fields that no line here names are measured
as well, each the other way than by default."""

NO_SPEED = ("deterministic",)
"""Yes-or-no fields of ``Training`` that are there for something else."""

FASTEST: dict[str, Mapping[str, Any]] = {"cpu": {}, "cuda": {"precision": "bfloat16"}}
"""What pays on a device beside the defaults, of what gives the same but for rounding; ``compile`` apart, which takes
minutes before the first step."""

ON_CPU = ("quickstart", "full", 1, 16)
ON_GPU = (("kinetics_2stage", "full", 2, 8),)
COMPILED_ON_GPU = (("kinetics_2stage", "base", 2, 16), ("kinetics_2stage", "full", 1, 8))
"""Spec, stage, divisor of the channels, batch."""


def table() -> dict[str, Mapping[str, Any]]:
    """Every change to be measured: those of :data:`ALONE` and the yes-or-no fields beside them."""
    fields = attrs.fields_dict(Training)
    known = {name for change in ALONE.values() for name in change}
    found = {name: change for name, change in ALONE.items() if change.keys() <= fields.keys()}
    for name, field in fields.items():
        if isinstance(field.default, bool) and name not in known and name not in NO_SPEED:
            found[f"{name}={str(not field.default).lower()}"] = {name: not field.default}
    return found


def with_options(training: Training, change: Mapping[str, Any], batch: int) -> Training:
    """``training`` with ``change``, as far as it has such fields."""
    fields = attrs.fields_dict(Training)
    settled = {name: max(1, batch // 2) if value == "half" else value for name, value in change.items()}
    return attrs.evolve(training, **{name: value for name, value in settled.items() if name in fields})


def fastest(training: Training, settings: Settings, batch: int) -> Training:
    """``training`` with all options that pay on the device."""
    return with_options(training, FASTEST["cuda" if settings.cuda else "cpu"], batch)


def to_compile(experiment: Experiment, stage: str) -> tuple[str, ...]:
    """Networks that are worth compiling: a generator of ConvGRUs is a graph of thousands of operations."""
    return ("generator", "discriminators") if experiment.graph[stage].source else ("discriminators",)


def options(settings: Settings) -> Iterator[Line]:
    """Each option alone against the defaults: time, and on a GPU the peak memory."""
    for spec, stage, divide, batch in ON_GPU if settings.cuda else (ON_CPU,):
        experiment = load(spec, divide)
        small = 2 if settings.quick else batch
        for name, change in table().items():
            if "compile" in change or (not settings.cuda and change.get("precision") == "float16"):
                continue  # minutes, for which there is a row of its own; of no use on a CPU
            yield alone(settings, experiment, stage, small, name, change, named(spec, stage, divide))


def compiled(settings: Settings) -> Iterator[Line]:
    """What ``torch.compile`` brings beside the options that pay on the device; its first steps are told apart."""
    for spec, stage, divide, batch in COMPILED_ON_GPU if settings.cuda else (ON_CPU,):
        experiment = load(spec, divide)
        networks = ("discriminators",) if settings.quick else to_compile(experiment, stage)
        yield alone(
            settings,
            experiment,
            stage,
            2 if settings.quick else batch,
            f"compile {' and '.join(networks)}",
            {"compile": networks},
            named(spec, stage, divide),
            FASTEST[settings.device.type],
        )


def smoke(settings: Settings) -> Iterator[Line]:
    """Whether each option gives the losses, and the norms of gradients, that the defaults give on this device."""
    bounds = {"bfloat16": 0.1, "float16": 0.05, "activation checkpointing": 1e-3, "two parts": None}
    experiment = load("quickstart")
    for name, change in table().items():
        bound = bounds.get(name, 1e-3 if "precision" not in change else 0.1)
        if bound is None or "compile" in change or change == {"prefix": "iteration"}:
            continue  # other statistics, or other draws, by design; or minutes, and the compiled rows compare losses
        training = experiment.training_of(experiment.graph["full"])
        one, other = (
            build(experiment, "full", each, 8, settings.device)
            for each in (training, with_options(training, change, 8))
        )
        apart = first_losses_apart(one, other)
        bar = Bar(bound, least=False, unit="")
        yield Line(work=f"{named('quickstart', 'full')}, batch 8: {name}", value=apart, bar=bar, unit="")
        del one, other
        clear(settings.device)


def repeated(settings: Settings) -> Iterator[Line]:
    """Whether two runs with deterministic kernels alone are equal bit for bit, and every operation has one."""
    experiment, logs = load("quickstart"), []
    training = experiment.training_of(experiment.graph["full"])
    with deterministic(True):
        for _ in range(2):
            step = build(experiment, "full", training, 8, settings.device)
            reseed(0, "first")
            logs.append([step() for _ in range(3)])
            del step
            clear(settings.device)
    pairs = [(one[name], other[name]) for one, other in zip(*logs, strict=True) for name in one]
    apart = max(abs(float(one) - float(other)) for one, other in pairs)
    bar = Bar(0.0, least=False, unit="")
    work = f"{named('quickstart', 'full')}, batch 8: three iterations, twice, deterministic"
    yield Line(work=work, value=apart, bar=bar, unit="")


def alone(
    settings: Settings,
    experiment: Experiment,
    stage: str,
    batch: int,
    name: str,
    change: Mapping[str, Any],
    where: str,
    beside: Mapping[str, Any] | None = None,
) -> Line:
    """One option against the defaults, or against those with the changes ``beside``."""
    training = with_options(experiment.training_of(experiment.graph[stage]), beside or {}, batch)
    default = build(experiment, stage, training, batch, settings.device)
    other = build(experiment, stage, with_options(training, change, batch), batch, settings.device)
    started = time.perf_counter()
    apart = first_losses_apart(default, other)
    other()  # compiled again where shapes of statistics have settled
    first = time.perf_counter() - started
    ratio = in_turns(settings, other, default, settings.runs // 2 + 1)
    detail = f"{duration(ratio.ours)}, {duration(ratio.theirs)}"
    if settings.cuda:
        own, before = peak(other), peak(default)
        detail += f"; {own / 1e6:.0f} MB, {before / 1e6:.0f} MB"
    if "compile" in change:
        detail += f"; first steps {first:.0f} s"
    del default, other
    clear(settings.device)
    work = f"{where}, batch {batch}: {name}"
    return Line(work=work, value=ratio.value, spread=(ratio.low, ratio.high), detail=detail, equal=f"{apart:.1e}")


def first_losses_apart(one: StageStep, other: StageStep) -> float:
    """The largest difference between losses, and norms of gradients, of an iteration, in parts of 1 and themselves.

    At learning rates of zero: Adam's first step is as long for a gradient that is rounding as for any other. Norms of
    scaled gradients that overflow, as they may at first, are not compared.
    """
    logs = []
    for step in (one, other):
        groups = [group for wrapper in step.optimizers.values() for group in wrapper.param_groups]
        rates = [group["lr"] for group in groups]
        for group in groups:
            group["lr"] = 0.0
        reseed(0, "first")
        logs.append(step())
        for group, rate in zip(groups, rates, strict=True):
            group["lr"] = rate
    names = [name for name in ("loss_D", "loss_G", "grad_norm_D", "grad_norm_G") if all(name in log for log in logs)]
    pairs = [[float(log[name]) for log in logs] for name in names]
    return max(abs(mine - theirs) / max(1.0, abs(mine)) for mine, theirs in pairs)


def peak(step: StageStep) -> int:
    """The most bytes of the GPU that an iteration has in use; those of another step, there beside it, do not count."""
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    step()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before + held_by(step)


def held_by(step: StageStep) -> int:
    """Bytes that a step has between two iterations: weights, those of frozen sources, buffers, Adam's states."""
    sources = () if step.model.sources is None else step.model.sources.links
    networks: list[nn.Module] = [step.model, *(link.generator for link in sources)]
    states = (state for wrapper in step.optimizers.values() for state in wrapper.optimizer.state.values())
    tensors = [
        *(each for network in networks for each in (*network.parameters(), *network.buffers())),
        *(value for state in states for value in state.values() if isinstance(value, Tensor)),
        *(step.model.average.parameters.values() if step.model.average is not None else ()),
    ]
    return sum(each.nbytes for each in tensors if each.device == step.model.device)
