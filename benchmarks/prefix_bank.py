"""What a bank of stored source videos saves: an iteration that reads x̂_l against one that computes it.

Three ways of making the same iteration take turns: x̂_l windows computed by the frozen stages, read of a bank, and
given for nothing, which is the iteration without any prefix. Sources are untrained and real videos random pixels: an
iteration's cost depends on neither. ``--channels`` makes all networks narrow; what the prefix costs beside the rest
depends on how wide each is, so that the spec's own widths are what counts.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import attrs
import torch
from torch import Tensor

from components.clip import Span
from datasets import ClipStore
from framework.adversarial_stage import AdversarialStage
from framework.batch import Latents
from framework.cost.step import build_step
from framework.experiment import Experiment
from framework.make_bank import About, write_bank
from framework.prefix import PrefixSource
from framework.prefix_bank import PrefixBank
from framework.spec_file import load_spec
from registry import InputError
from registry.cli import positive, run

from clip_store_rows.measuring import quartiles

ROOT = Path(__file__).resolve().parents[1]
WAYS = ("live", "bank", "given")
TABLE = "docs/benchmarks.md, A bank of source videos"


class Given:
    """x̂_l for nothing."""

    def __init__(self, shape: Sequence[int], device: torch.device) -> None:
        self.x_l = torch.rand(*shape, device=device) * 2 - 1

    def draw(self, batch: int) -> tuple[Sequence[Tensor], Span | None]:
        """Nothing."""
        return [], None

    def windows(self, latents: Latents, y: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Always the same."""
        return self.x_l[: len(latents.z)], y


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="benchmarks/prefix_bank.py", description=f"{__doc__.partition(chr(10))[0]} Makes {TABLE}."
    )
    default = ROOT / "experiments" / "bdd_3stage.py"
    parser.add_argument("spec", nargs="?", default=str(default), metavar="SPEC", help="(default: bdd_3stage)")
    parser.add_argument("--channels", type=positive, help="base channels of all networks (default: the spec's)")
    parser.add_argument("--batch", type=positive, default=4, help="clips (default: %(default)s)")
    parser.add_argument("--turns", type=positive, default=7, help="timed iterations of each way (default: %(default)s)")
    parser.add_argument("--videos", type=positive, default=32, help="in the bank (default: %(default)s)")
    parser.add_argument("--stage", help="only this one")
    parser.add_argument("--cpu-time", action="store_true", help="time that the process had, where others take theirs")
    parser.add_argument("--quick", action="store_true", help="the smallest of everything, to try the script itself")
    return parser


def main(arguments: argparse.Namespace) -> int:
    """Measure every stage that has a source."""
    if arguments.quick:
        arguments.channels, arguments.batch, arguments.turns, arguments.videos = 2, 1, 1, 2
    experiment, _ = load_spec(arguments.spec, _narrow(arguments.spec, arguments.channels))
    with_source = [stage.name for stage in experiment.graph.order() if stage.source]
    if arguments.stage is not None and arguments.stage not in with_source:
        raise InputError.unknown("--stage", f"stage of {experiment.name} with a source", arguments.stage, with_source)
    if not with_source:
        raise InputError.of(arguments.spec, "no stage has a source whose videos could be stored", "a cascade")
    print(f"{TABLE}:")
    machine = platform.processor() or platform.machine()
    width = f"{arguments.channels} base channels" if arguments.channels else "the spec's widths"
    print(
        f"{experiment.name}, batch {arguments.batch}, {width}; {machine}, {torch.get_num_threads()} threads, ", end=""
    )
    print(f"torch {torch.__version__}, Python {platform.python_version()}")
    print("| stage | iteration: live / bank (quartiles) | live prefix adds | bank adds | reading a batch, ms |")
    print("| --- | --- | --- | --- | --- |")
    for name in [arguments.stage] if arguments.stage else with_source:
        print(row(experiment, name, arguments), flush=True)
    return 0


def row(experiment: Experiment, name: str, arguments: argparse.Namespace) -> str:
    """The stage's row of the table."""
    training = attrs.evolve(experiment.training_of(experiment.graph[name]), prefix_bank=None)
    step = build_step(experiment, name, training, arguments.batch)
    model = step.model
    now = time.process_time if arguments.cpu_time else time.perf_counter
    with tempfile.TemporaryDirectory() as folder:
        ways = prefixes(experiment, model, Path(folder), arguments.videos, arguments.batch)
        seconds: dict[str, list[float]] = {way: [] for way in WAYS}
        for turn in range(arguments.turns + 1):
            for way in WAYS:
                model.prefix = ways[way]
                begun = now()
                step()
                if turn:  # the first warms up
                    seconds[way].append(now() - begun)
        reading = read_time(ways["bank"], arguments.batch)
    low, middle, high = quartiles(ratios(seconds["live"], seconds["bank"]))
    adds = {way: statistics.median(ratios(seconds[way], seconds["given"])) - 1 for way in ("live", "bank")}
    return (
        f"| {name} | {middle:.2f}x ({low:.2f} to {high:.2f}) | {adds['live']:.1%} | {adds['bank']:.1%} | "
        f"{reading * 1e3:.2f} |"
    )


def prefixes(
    experiment: Experiment, model: AdversarialStage, folder: Path, videos: int, batch: int
) -> dict[str, PrefixSource]:
    """Each way's prefix."""
    classes, sources, live = experiment.graph.classes, model.sources, model.prefix
    assert sources is not None  # noqa: S101 - the stage has a source
    assert live is not None  # noqa: S101 - as above
    assert model.view is not None  # noqa: S101 - as above
    about = About(videos=videos, seed=0, stage=model.stage.name, artifact="", data="")
    labels = None if classes is None else torch.arange(videos) % classes
    names = None if classes is None else tuple(map(str, range(classes)))
    write_bank(folder / "bank.zarr", sources, about, labels, names, batch)
    frames = model.data.frames // model.view.time
    store = ClipStore(str(folder / "bank.zarr"))
    bank = PrefixBank(store, frames, model.device, conditional=classes is not None)
    clip = sources.clip
    given = Given((batch, frames, clip.channels, clip.height, clip.width), model.device)
    return {"live": live, "bank": bank, "given": given}


def read_time(bank: PrefixSource, batch: int) -> float:
    """Seconds to draw and read a batch, the median of 50."""
    seconds = []
    for _ in range(50):
        begun = time.perf_counter()
        bank.windows(Latents(torch.zeros(batch, 1), *bank.draw(batch)), None)
        seconds.append(time.perf_counter() - begun)
    return statistics.median(seconds)


def ratios(one: Sequence[float], other: Sequence[float]) -> list[float]:
    """Of each turn."""
    return [a / b for a, b in zip(one, other, strict=True)]


def _narrow(spec: str, channels: int | None) -> list[str]:
    """Overrides that give all networks so many base channels."""
    if channels is None:
        return []
    experiment, _ = load_spec(spec)
    return [
        f"stages.{stage.name}.{part}.channels={channels}"
        for stage in experiment.graph.stages
        for part in ("generator", *(f"discriminators.{name}" for name in stage.discriminators))
    ]


if __name__ == "__main__":
    sys.exit(run(main, parser()))
