"""What a run of benchmarks/gpu.py was made on, and whether all is there that its parts import."""

from __future__ import annotations

import argparse
import importlib
import subprocess
import sys
import traceback
from pathlib import Path

import torch

from registry.errors import one_line

from clip_store_rows.measuring import machine, version

ROOT = Path(__file__).resolve().parents[1]
LIBRARIES = ("torch", "triton", "xformers", "mmengine", "kornia", "timm", "zarr", "numcodecs", "av", "numpy")
NEEDED = (
    *("attrs", "av", "cattrs", "cv2", "google_crc32c", "kornia", "matplotlib", "mmengine", "numcodecs", "numpy", "PIL"),
    *(
        "safetensors",
        "tensorboard",
        "tqdm",
        "zarr",
        "framework.train_stage",
        "framework.evaluate",
        "framework.generate",
    ),
)
"""Modules without which a part fails; timm and xformers are left out where they are not there."""


def main() -> int:
    """Print it; 1 where something is missing, 2 where there is no GPU."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--commit", default="", help="of this tree, where git is not there to say it")
    parser.add_argument("--command", default="", help="that was given")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    arguments = parser.parse_args()
    facts = {
        "command": f"`{arguments.command}`",
        "commit": arguments.commit or commit(),
        "card": "none" if arguments.device == "cpu" else card(),
        "driver": driver(),
        "CUDA, cuDNN, NCCL": f"{torch.version.cuda}, {torch.backends.cudnn.version()}, {nccl()}",
        "TF32 of convolutions": str(torch.backends.cudnn.allow_tf32),
        "TF32 of products": str(torch.backends.cuda.matmul.allow_tf32),
        "machine": machine(LIBRARIES),
    }
    print("| what | which |\n| --- | --- |")
    for what, which in facts.items():
        print(f"| {what} | {which} |", flush=True)
    failed = 0
    for name in NEEDED:
        try:
            importlib.import_module(name)
        except Exception as error:  # noqa: BLE001  # a library that is broken may raise anything; all are told of
            failed = 1
            print(f"| **missing** | {name}: {one_line(error)} |", flush=True)
            traceback.print_exc()
    return failed


def commit() -> str:
    """The commit of this tree, and whether something was changed since."""
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],  # noqa: S607
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown (give --commit)"
    return found.stdout.strip()


def card() -> str:
    """The GPU's name, memory and kind."""
    found = torch.cuda.get_device_properties(torch.cuda.current_device())
    return (
        f"{found.name}, {found.total_memory / 2**30:.1f} GiB, {found.multi_processor_count} multiprocessors, "
        f"compute capability {found.major}.{found.minor}, one of {torch.cuda.device_count()}"
    )


def driver() -> str:
    """The driver's version, as nvidia-smi has it."""
    command = ["nvidia-smi", "--query-gpu=driver_version,clocks.max.sm,power.limit", "--format=csv,noheader"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return "unknown: no nvidia-smi"
    return "; ".join(found.stdout.strip().splitlines())


def nccl() -> str:
    """NCCL's version."""
    if not torch.cuda.is_available():
        return version("nvidia-nccl-cu13")
    return ".".join(map(str, torch.cuda.nccl.version()))


if __name__ == "__main__":
    sys.exit(main())
