"""Predicted against measured peak memory of steps on the CPU, over specs and options.

Predicted is what ``framework/cost`` tells of a step on fake tensors; measured is how far the resident memory of a
process that makes the step for real rises, as the kernel notes it (VmHWM), over what it was before the step. A process
makes one iteration first, so that Adam's states are there in both. What is measured includes what torch's kernels
allocate for themselves, which no tracker sees.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

SETTINGS = {  # fewer channels and frames than the specs', so that a CPU makes a step in seconds
    "kinetics_2stage": [
        "stages.base.generator.channels=24",
        "stages.base.discriminators.spatial.channels=24",
        "stages.base.discriminators.temporal.channels=24",
        "stages.full.generator.channels=16",
        "stages.full.discriminators.spatial.channels=12",
        "stages.full.discriminators.temporal.channels=12",
        "stages.full.discriminators.matching.channels=12",
    ],
    "bdd_3stage": [
        "stages.base.generator.channels=16",
        "stages.mid.generator.channels=16",
        *(f"stages.mid.discriminators.{name}.channels=12" for name in ("spatial", "temporal", "matching")),
    ],
    "dvd_gan_12": [
        "stages.full.generator.channels=16",
        "stages.full.discriminators.spatial.channels=12",
        "stages.full.discriminators.temporal.channels=12",
    ],
}
ROWS: list[tuple[str, str, int, list[str]]] = [
    ("kinetics_2stage", "base", 4, []),
    ("kinetics_2stage", "full", 2, []),
    ("kinetics_2stage", "full", 2, ["training.activation_checkpointing=true"]),
    ("kinetics_2stage", "full", 4, ["training.clips_per_gpu=2"]),
    ("kinetics_2stage", "full", 2, ["training.precision=bfloat16"]),
    ("kinetics_2stage", "full", 2, ["training.average=0.999", "training.r1=1"]),
    ("bdd_3stage", "mid", 4, []),
    ("dvd_gan_12", "full", 1, []),
]
"""Spec, stage, clips, options."""
TABLE = "docs/cost.md, What is extrapolated, and what is a bound"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="benchmarks/memory.py", description=f"{__doc__.partition(chr(10))[0]} Makes {TABLE}."
    )
    parser.add_argument("--quick", action="store_true", help="the last row alone, to try the script itself")
    parser.add_argument("--step", help=argparse.SUPPRESS)
    return parser


def main(arguments: argparse.Namespace) -> int:
    """A row for each spec and option."""
    if arguments.step:
        print(measured_here(*json.loads(arguments.step)))
        return 0
    print(f"{TABLE}:")
    print("| spec | stage | clips | option | predicted, MB | measured, MB | predicted / measured |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for spec, stage, clips, options in ROWS[-1:] if arguments.quick else ROWS:
        settings = [*SETTINGS[spec], *options]
        predicted, real = predict(spec, stage, clips, settings), measure(spec, stage, clips, settings)
        said = ", ".join(option.removeprefix("training.") for option in options) or "plain"
        cells = [spec, stage, clips, said, round(predicted / 1e6), round(real / 1e6), f"{predicted / real:.2f}"]
        print(f"| {' | '.join(map(str, cells))} |", flush=True)
    return 0


def predict(spec: str, stage: str, clips: int, settings: list[str]) -> int:
    """Bytes that a step is said to need beyond what is there before it: weights, states and buffers."""
    from framework.cost.memory import peak_of
    from framework.cost.updates import count_updates
    from framework.spec_file import load_spec

    experiment, _ = load_spec(_path(spec), settings)
    training = experiment.training_of(experiment.graph[stage])
    memory = peak_of(count_updates(experiment, stage, training, clips, device="cpu"))
    there = ("weights", "sources", "buffers", "optimizer", "other")
    return memory.total - sum(memory.bytes[part] for part in there)


def measure(spec: str, stage: str, clips: int, settings: list[str]) -> int:
    """The same as a process of its own finds it, in bytes."""
    # Every large block is a mapping of its own and goes back to the system at once, so that what is resident is held.
    malloc = {"MALLOC_MMAP_THRESHOLD_": "16384", "MALLOC_TRIM_THRESHOLD_": "0", "MALLOC_MMAP_MAX_": "1000000"}
    here = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, **malloc, "OMP_NUM_THREADS": "1", "PYTHONPATH": here}
    command = [sys.executable, __file__, "--step", json.dumps([spec, stage, clips, settings])]
    done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{spec} {stage}: {done.stderr.strip().splitlines()[-1]}")
    return int(done.stdout)


def measured_here(spec: str, stage: str, clips: int, settings: list[str]) -> int:
    """How far this process's resident memory rises in an iteration, in bytes."""
    from framework.cost.step import build_step
    from framework.spec_file import load_spec

    experiment, _ = load_spec(_path(spec), settings)
    training = experiment.training_of(experiment.graph[stage])
    step = build_step(experiment, stage, training, clips)
    data: Any = step.model.data
    data.draw_window = lambda: data.window(0)  # the one that is predicted
    step()
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # VmHWM begins anew
    before = _status("VmRSS")
    step()
    return _status("VmHWM") - before


def _status(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise LookupError(field)


def _path(spec: str) -> str:
    path = Path(spec)
    return str(path if path.suffix else ROOT / "experiments" / f"{spec}.py")


if __name__ == "__main__":
    from registry.cli import run

    sys.exit(run(main, parser()))
