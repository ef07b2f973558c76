"""Steps of every stage of a spec under each option of memory and speed: time, peak memory, and whether results hold.

Meant for a GPU, where autocast, torch.compile and activation checkpointing pay; ``--device cpu`` with a small spec
tries the script itself. Real videos are random pixels: a step's cost does not depend on them. Sources are untrained.
Each option is measured against the plain step of the same stage in the same run.
"""

from __future__ import annotations

import argparse
import gc
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import torch

from framework.cost.step import build_step
from framework.experiment import Experiment
from framework.randomness import reseed
from framework.spec_file import load_spec
from registry import InputError
from registry.cli import positive, run

ROOT = Path(__file__).resolve().parents[1]
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "bfloat16": {"precision": "bfloat16"},
    "float16": {"precision": "float16"},
    "checkpointing": {"activation_checkpointing": True},
    "two parts": {"clips_per_gpu": 2},
    "compile": {"compile": ("generator", "discriminators")},
    "bfloat16, compile": {"precision": "bfloat16", "compile": ("generator", "discriminators")},
    "bfloat16, checkpointing": {"precision": "bfloat16", "activation_checkpointing": True},
}


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="benchmarks/gpu_training.py", description=__doc__.partition("\n")[0])
    parser.add_argument("spec", nargs="?", default=str(ROOT / "experiments" / "kinetics_2stage.py"))
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change the spec")
    parser.add_argument("--batch", type=positive, default=8, help="clips (default: %(default)s)")
    parser.add_argument("--steps", type=positive, default=5, help="timed iterations (default: %(default)s)")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="(default: %(default)s)")
    parser.add_argument("--options", nargs="+", default=list(OPTIONS), choices=list(OPTIONS), metavar="NAME")
    return parser


def main(arguments: argparse.Namespace) -> int:
    """Measure every stage under every option."""
    experiment, _ = load_spec(arguments.spec, arguments.set)
    device = torch.device(arguments.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise InputError.of("--device", "there is no GPU here", "cpu, with a small spec, to try the script itself")
    name = torch.cuda.get_device_name() if device.type == "cuda" else platform.processor() or platform.machine()
    print(f"{experiment.name}, batch {arguments.batch}; {name}, torch {torch.__version__}")
    print("| stage | option | step, ms | plain / this | peak memory, MB | this / plain | largest change of a loss |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for stage in experiment.graph.names():
        plain: tuple[float, float, dict[str, float]] | None = None
        for option in arguments.options:
            found = measure(experiment, stage, OPTIONS[option], arguments.batch, arguments.steps, device)
            plain = plain or found
            seconds, memory, losses = found
            change = max(abs(losses[loss] - plain[2][loss]) for loss in losses)
            print(
                f"| {stage} | {option} | {seconds * 1e3:.1f} | {plain[0] / seconds:.2f}x | {memory / 1e6:.0f} | "
                f"{memory / max(plain[1], 1):.2f} | {change:.1e} |",
                flush=True,
            )
    return 0


def measure(
    experiment: Experiment, stage: str, option: dict[str, Any], batch: int, steps: int, device: torch.device
) -> tuple[float, float, dict[str, float]]:
    """Seconds of a step (median), the peak memory of the device in bytes, and the first iteration's losses."""
    training = attrs.evolve(experiment.training_of(experiment.graph[stage]), **option)
    if training.clips_per_gpu is not None:
        training = attrs.evolve(training, clips_per_gpu=max(1, batch // training.clips_per_gpu))
    step = build_step(experiment, stage, training, batch, device)
    reseed(0, "first")
    first = {name: float(value) for name, value in step().items() if name.startswith("loss")}
    step()  # compiled again where shapes of statistics have settled
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    times = [_seconds(step, device) for _ in range(steps)]
    memory = torch.cuda.max_memory_allocated() if device.type == "cuda" else 0
    del step
    gc.collect()
    torch.compiler.reset()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    return statistics.median(times), memory, first


def _seconds(step: Callable[[], object], device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    step()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


if __name__ == "__main__":
    sys.exit(run(main, parser()))
