"""What windows of the frozen prefix save: x_l windows from just the frames they depend on, against whole videos.

While a stage trains, every update needs a window of its source's videos. Each earlier stage is run over
the frames that the window depends on by its field of view, and no others. This measures what that costs
against running the earlier stages over whole videos and cutting the window out.

Work is counted at the experiment's full size on the meta device, over every window. Time is measured on
this machine at ``--channels``, the two ways in turn, and given as the median of ratios. Both ways must
give the same frames but for rounding, which is checked.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from components.clip import Span
from components.layers import standing_statistics
from framework.build import build_data_route, build_generator, build_stage_view
from framework.cascade import Cascade, Link
from framework.experiment import Experiment
from framework.spec_file import load_spec
from framework.stage_data import StageData
from registry import InputError
from registry.cli import positive
from registry.cli import run as command

from clip_store_rows.measuring import check

ROOT = Path(__file__).resolve().parents[1]
TABLE = "docs/benchmarks.md, The frozen prefix"
ROUNDING = 1e-3
"""That frames of both ways may differ by: convolutions of other sizes sum in another order."""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="benchmarks/frozen_prefix.py", description=f"{__doc__.partition(chr(10))[0]} Makes {TABLE}."
    )
    default = ROOT / "experiments" / "bdd_3stage.py"
    parser.add_argument("spec", nargs="?", default=str(default), metavar="SPEC", help="(default: bdd_3stage)")
    parser.add_argument(
        "--channels", type=positive, default=8, help="generators' base channels for timing (default: %(default)s)"
    )
    parser.add_argument("--runs", type=positive, default=5, help="timed pairs (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="2 channels and one pair, to try the script itself")
    return parser


def main(arguments: argparse.Namespace) -> int:
    """Measure every stage that has a source."""
    if arguments.quick:
        arguments.channels, arguments.runs = 2, 1
    experiment, _ = load_spec(arguments.spec)
    if not any(stage.source for stage in experiment.graph.stages):
        raise InputError.of(arguments.spec, "no stage has a source, and so none a prefix", "a cascade")
    print(f"{TABLE}:")
    narrow = [f"stages.{name}.generator.channels={arguments.channels}" for name in experiment.graph.names()]
    timed, _ = load_spec(arguments.spec, narrow)
    print(
        f"{experiment.name}; {platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, ", end=""
    )
    print(f"torch {torch.__version__}, Python {platform.python_version()}")
    print("| stage | window of x_l | work: whole / window | time: whole / window | largest difference |")
    print("| --- | --- | --- | --- | --- |")
    for stage in experiment.graph.order():
        if stage.source:
            work, windows = count_work(experiment, stage.name)
            ratio, difference = measure_time(timed, stage.name, arguments.runs)
            print(f"| {stage.name} | {windows} | {work:.2f}x | {ratio:.2f}x | {difference:.1e} |")
    return 0


def source_spans(experiment: Experiment, name: str) -> list[Span]:
    """Every window of x_l that the stage trains on."""
    graph = experiment.graph
    stage, view = graph[name], build_stage_view(graph[name])
    data = StageData(graph, stage, build_data_route(graph, stage), view)
    total = graph[str(stage.source)].clip.frames
    windows = [data.window(number) for number in range(data.starts)]
    return [Span(window.start // view.time, window.stop // view.time, total) for window in windows]


def prefix(experiment: Experiment, name: str, device: str) -> Cascade:
    """The stages before ``name``, untrained, with batch-norm statistics of their whole clips."""
    links = []
    for stage in experiment.graph.chain(name)[:-1]:
        with torch.device(device):
            generator = build_generator(experiment.graph, stage)
            with torch.no_grad(), standing_statistics(generator, stage.clip.frames):
                pass
        links.append(Link(stage.name, stage.clip, generator, stage.clip.frames))
    return Cascade(links)


def count_work(experiment: Experiment, name: str) -> tuple[float, str]:
    """Floating-point operations of whole videos over the mean of all windows, and what the windows are."""
    cascade, spans = prefix(experiment, name, "meta"), source_spans(experiment, name)
    noise = [torch.zeros(1, link.generator.noise_dim, device="meta") for link in cascade.links]
    y = None if experiment.graph.classes is None else torch.zeros(1, dtype=torch.long, device="meta")
    whole = flops(lambda: cascade.videos(noise, y))
    windows = statistics.mean(flops(lambda span=span: cascade.frames(noise, y, span)) for span in spans)
    return whole / windows, f"{spans[0].frames} of {spans[0].total} frames"


def flops(call: Callable[[], object]) -> int:
    """Floating-point operations of ``call``."""
    with FlopCounterMode(display=False) as counter:
        call()
    return int(counter.get_total_flops())


def measure_time(experiment: Experiment, name: str, runs: int) -> tuple[float, float]:
    """Seconds of whole videos over those of a window, the median of ``runs`` pairs; and how far the frames differ."""
    torch.manual_seed(0)
    cascade, spans = prefix(experiment, name, "cpu"), source_spans(experiment, name)
    noise, y = cascade.noise(2), None if experiment.graph.classes is None else torch.zeros(2, dtype=torch.long)
    ratios, difference = [], 0.0
    for run in range(runs + 1):
        span = spans[run * (len(spans) - 1) // max(runs, 1)]
        started = time.perf_counter()
        whole = cascade.videos(noise, y)[cascade.links[-1].name]
        between = time.perf_counter()
        window = cascade.frames(noise, y, span)
        ended = time.perf_counter()
        if run:  # the first pair warms up
            ratios.append((between - started) / (ended - between))
        difference = max(difference, float((whole[:, span.start : span.stop] - window).abs().max()))
    check(difference < ROUNDING, f"windows of {name} are {difference:.1e} from the frames of whole videos")
    return statistics.median(ratios), difference


if __name__ == "__main__":
    sys.exit(command(main, parser()))
