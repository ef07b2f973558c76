"""Generating in pieces against generating whole: difference, time per frame, and memory of short and long videos.

A cascade of three stages of the paper's kind, narrow and with random weights: neither time nor memory depends on them.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor

from components.clip import Clip, Span
from components.generators import DVDGenerator, UpsamplingGenerator
from components.layers import Timeline, follow, standing_statistics
from components.views import NearestView
from framework.cascade import Cascade, Link
from registry.cli import positive, run

FRAMES = 100
"""Of the last stage's clip, as in the paper."""
TABLE = "docs/benchmarks.md, Generating in pieces"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="benchmarks/streaming.py", description=f"{__doc__.partition(chr(10))[0]} Makes {TABLE}."
    )
    parser.add_argument("--channels", type=positive, default=4, help="of the generators (default: %(default)s)")
    parser.add_argument("--runs", type=positive, default=3, help="of which the median counts (default: %(default)s)")
    parser.add_argument("--long", type=_long, default=1600, help="frames of the long video (default: %(default)s)")
    parser.add_argument(
        "--quick", action="store_true", help="2 channels, one run, 200 frames, to try the script itself"
    )
    parser.add_argument("--memory-of", type=positive, metavar="T", help=argparse.SUPPRESS)
    return parser


def _long(text: str) -> int:
    """Frames of a long video, which every stage has a whole number of."""
    if int(text) < FRAMES or int(text) % 4:
        raise argparse.ArgumentTypeError(f"{text} is no multiple of 4 of at least {FRAMES}")
    return int(text)


_long.__name__ = "whole number"  # argparse names it in its errors


def main(arguments: argparse.Namespace) -> int:
    """Measure."""
    if arguments.quick:
        arguments.channels, arguments.runs, arguments.long = 2, 1, 200
    cascade = make_cascade(arguments.channels)
    torch.manual_seed(1)
    noise = cascade.noise(1)
    if arguments.memory_of is not None:
        follow_length(cascade, arguments.memory_of)
        for _ in cascade.stream(noise, None, arguments.memory_of):
            pass
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
        return 0

    def whole() -> Tensor:
        x_l = None
        for link, z, length in zip(cascade.links, noise, cascade.lengths(), strict=True):
            x_l = link.generator(z, None, x_l, Span.whole(length))
        assert x_l is not None  # noqa: S101  # a cascade has stages
        return x_l

    with torch.no_grad():
        streamed, at_once = cascade.videos(noise, None)["full"], whole()
        difference = (streamed - at_once).abs().max().item()
        ratio = statistics.median(
            seconds(lambda: cascade.videos(noise, None)) / seconds(whole) for _ in range(arguments.runs)
        )
    short, long = (peak(arguments.channels, frames) for frames in (FRAMES, arguments.long))
    print(f"{TABLE}:")
    print(
        f"{cascade.clip}, {arguments.channels} channels, torch {torch.__version__}, {torch.get_num_threads()} threads"
    )
    print("| what | figure | asked for |")
    print("| --- | --- | --- |")
    print(f"| largest difference of a pixel in [-1, 1], float32 | {difference:.1e} | rounding |")
    print(f"| time in pieces / time whole | {ratio:.2f} | at most 1.15 |")
    print(f"| peak memory of {arguments.long} frames / of {FRAMES} | {long / short:.3f} | at most 1.1 |")
    return 0


def make_cascade(channels: int) -> Cascade:
    """Three stages to 128x128/100, 12 frames at a time."""
    torch.manual_seed(0)
    view = NearestView(time=2, space=2)
    clips = [Clip(25, 32, 32, stride=8), Clip(50, 64, 64, stride=4), Clip(FRAMES, 128, 128, stride=2)]
    generators = [
        DVDGenerator(clips[0], channels=channels),
        UpsamplingGenerator(Clip(12, 64, 64), view, channels=channels, multipliers=(8, 4, 4, 2, 2)),
        UpsamplingGenerator(Clip(12, 128, 128), view, channels=channels, multipliers=(8, 4, 4, 2, 2)),
    ]
    windows = (25, 12, 12)
    names = ("base", "mid", "full")
    links = [Link(*each) for each in zip(names, clips, generators, windows, strict=True)]
    x_l = None
    for link in links:
        generator = link.generator.eval()
        with torch.no_grad(), standing_statistics(generator, link.clip.frames):
            x_l = generator(torch.randn(2, generator.noise_dim), None, x_l, Span.whole(link.clip.frames))
    return Cascade(links)


def follow_length(cascade: Cascade, frames: int) -> None:
    """Have the norms ready for videos of ``frames`` frames."""
    for link, length in zip(cascade.links, cascade.lengths(frames), strict=True):
        ending = link.generator.reach_of_ends().future or 0
        follow(link.generator, Timeline(link.clip.frames, length, ending))


def seconds(call: Callable[[], object]) -> float:
    """How long ``call`` takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def peak(channels: int, frames: int) -> int:
    """Peak memory in bytes of a process that generates ``frames`` frames."""
    command = [sys.executable, __file__, "--channels", str(channels), "--memory-of", str(frames)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


if __name__ == "__main__":
    sys.exit(run(main, parser()))
