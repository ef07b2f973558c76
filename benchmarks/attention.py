"""Attention along each axis of a video by each backend: torch's fused kernels, xformers', and written out.

Forward and backward of lines as the networks have them, the ways in turn. On a GPU with xformers the layers choose
between the first two in the same way, when they are first called (``components/layers/attention_backends.py``); what
they would choose is the fastest column. Written out is what R1 needs, and what attention cost before it was fused.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import sys
import time

import torch

from components.layers.attention import AXES, AxialAttention
from components.layers.attention_backends import Backend, by_torch, written_out
from components.layers.attention_backends import run as attend
from registry import InputError
from registry.cli import positive, run
from registry.errors import one_line

SHAPES = [(4, 12, 64, 32), (4, 12, 64, 64), (2, 12, 128, 64)]
"""Clips, frames, pixels a side, channels."""
TABLE = "docs/benchmarks.md, Attention on a GPU"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="benchmarks/attention.py", description=f"{__doc__.partition(chr(10))[0]} Makes {TABLE}."
    )
    here = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--device", choices=("cpu", "cuda"), default=here, help="(default: the GPU, if there is one)")
    parser.add_argument("--dtype", default="bfloat16", choices=["float32", "bfloat16", "float16"])
    parser.add_argument("--turns", type=positive, default=5, help="timed runs of each (default: %(default)s)")
    parser.add_argument("--small", action="store_true", help="a quarter of the frames and pixels a side")
    parser.add_argument("--quick", action="store_true", help="--small with one turn, to try the script itself")
    return parser


def main(arguments: argparse.Namespace) -> int:
    """Measure every axis of every shape."""
    if arguments.device == "cuda" and not torch.cuda.is_available():
        raise InputError("there is no GPU here")
    if arguments.quick:
        arguments.small, arguments.turns = True, 1
    print(f"{TABLE}:")
    device, dtype = torch.device(arguments.device), getattr(torch, arguments.dtype)
    backends = available(device)
    name = torch.cuda.get_device_name() if device.type == "cuda" else platform.processor() or platform.machine()
    print(
        f"{name}, {arguments.dtype}, {torch.get_num_threads()} threads, torch {torch.__version__}; ms (times torch's)"
    )
    print(f"| clips x frames x side x channels | axis | {' | '.join(backends)} |")
    print(f"| --- | --- |{' --- |' * len(backends)}")
    for clips, frames, side, channels in SHAPES:
        less = 4 if arguments.small else 1
        shape = (clips, frames // less, side // less, side // less, channels)
        for axis in AXES:
            layer = AxialAttention(channels, axis)
            tokens = [layer._lines(torch.randn(shape, device=device, dtype=dtype)) for _ in range(3)]
            seconds = measure(backends, (tokens[0], tokens[1], tokens[2]), arguments.turns)
            cells = [
                "no kernel" if each is None else f"{each * 1e3:.2f} ({each / (seconds['torch'] or each):.2f}x)"
                for each in seconds.values()
            ]
            print(f"| {clips}x{shape[1]}x{shape[2]}x{channels} | {axis} | {' | '.join(cells)} |", flush=True)
    return 0


def available(device: torch.device) -> dict[str, Backend]:
    """The backends that there are on the device."""
    backends: dict[str, Backend] = {"torch": by_torch, "written out": written_out}
    if device.type == "cuda":
        try:
            from xformers import ops
        except ImportError:
            print("xformers is not installed", file=sys.stderr)
        else:
            backends["xformers"] = ops.memory_efficient_attention
    return backends


def measure(backends: dict[str, Backend], tokens: tuple[torch.Tensor, ...], turns: int) -> dict[str, float | None]:
    """Seconds forward and backward, the median over the turns; None of one that has no kernel."""
    able = []
    for name, backend in backends.items():
        try:
            attend(backend, tokens, backward=True)
        except (NotImplementedError, ValueError, torch.AcceleratorError, torch.OutOfMemoryError) as error:
            print(f"{name}: {one_line(error)}", file=sys.stderr)
            continue
        able.append(name)
    seconds: dict[str, list[float]] = {name: [] for name in able}
    for _ in range(turns):
        for name in able:
            begun = now(tokens[0].device)
            attend(backends[name], tokens, backward=True)
            seconds[name].append(now(tokens[0].device) - begun)
    return {name: statistics.median(seconds[name]) if name in able else None for name in backends}


def now(device: torch.device) -> float:
    """The time when the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


if __name__ == "__main__":
    sys.exit(run(main, parser()))
