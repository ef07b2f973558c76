"""What training and generating with SPEC would cost: parameters, memory, FLOPs, time. Needs no GPU and no data."""

from __future__ import annotations

import _path  # noqa: F401  # before any other import: see there

import argparse
import json
import sys
from pathlib import Path
from typing import get_args

from framework.cost.cards import CARDS, find_card
from framework.cost.compare import comparison_data, comparison_text, equal_batch
from framework.cost.growth import growth
from framework.cost.growth_report import growth_data, growth_text, save_growth_plot
from framework.cost.summary import Setting, in_precision, summarise
from framework.cost.text import summary_data, summary_text
from framework.spec_file import load_spec
from framework.targets import refuse_file
from framework.update import Precision
from registry import InputError
from registry.cli import named_path, note, positive, run, say

GIGA, TERA = 1e9, 1e12


def main(arguments: argparse.Namespace) -> int:
    """Count, and say what was counted."""
    setting = _setting(arguments)
    _check_plot(arguments.growth)
    experiment, notes = load_spec(arguments.spec, arguments.set)
    note(*notes)
    experiment = in_precision(experiment, setting.precision)
    other = None if arguments.against is None else in_precision(load_spec(arguments.against)[0], setting.precision)
    if other is not None:
        setting = equal_batch(experiment, setting)
    costs = summarise(experiment, setting)
    texts, data = [summary_text(experiment, setting, costs)], summary_data(experiment, setting, costs)
    if other is not None:
        pair, both = (experiment, other), (costs, summarise(other, setting))
        texts.append(comparison_text(pair, both))
        data["against"] = {**summary_data(other, setting, both[1]), **comparison_data(pair, both)}
    if arguments.growth is not None:
        single = other if other is not None and len(other.graph.stages) == 1 else None
        found = growth(experiment, setting, single)
        save_growth_plot(found, arguments.growth)
        texts.append(growth_text(found))
        data["growth"] = growth_data(found)
    say(json.dumps(data, indent=2) if arguments.json else "\n\n".join(texts))
    return 0


def _check_plot(path: Path | None) -> None:
    """Refuse a plot that could not be written, before minutes of counting."""
    if path is None:
        return
    if path.suffix.lower() != ".png":
        raise InputError.of("--growth", f"{path} is no PNG file", "a path that ends in .png")
    refuse_file(path, "--growth")


def _setting(arguments: argparse.Namespace) -> Setting:
    card = find_card(
        arguments.gpu,
        memory=_times(arguments.memory, GIGA),
        rate=_times(arguments.rate, TERA),
        bandwidth=_times(arguments.bandwidth, GIGA),
    )
    return Setting(
        card=card,
        gpus=arguments.gpus,
        batch=arguments.batch,
        precision=arguments.precision,
        efficiency=arguments.efficiency,
    )


def _times(value: float | None, unit: float) -> float | None:
    return None if value is None else value * unit


def above_0(text: str) -> float:
    """A finite number above 0, as an argument."""
    if not 0 < float(text) < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0")
    return float(text)


def share(text: str) -> float:
    """A number above 0 and at most 1, as an argument."""
    if not 0 < float(text) <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0 and at most 1")
    return float(text)


above_0.__name__ = share.__name__ = "number"  # argparse names them in its errors


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="tools/summary.py",
        description=__doc__,
        epilog="examples: python tools/summary.py exp/bdd_3stage.py --batch 8 --against exp/dvd_gan_100.py; "
        "python tools/summary.py exp/kinetics_2stage.py --gpus 64 --gpu a100 --precision bfloat16",
    )
    parser.add_argument("spec", metavar="SPEC", help="a Python spec, or a saved spec.json")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change the spec")
    parser.add_argument("--batch", type=positive, metavar="N", help="clips in an update, per GPU (default: the spec's)")
    parser.add_argument("--precision", choices=get_args(Precision), help="(default: the spec's)")
    parser.add_argument(
        "--gpus", type=positive, default=1, metavar="N", help="GPUs that share a batch (default: %(default)s)"
    )
    parser.add_argument("--gpu", default="h100", metavar="NAME", help=f"{', '.join(CARDS)} (default: %(default)s)")
    parser.add_argument("--memory", type=above_0, metavar="GB", help="of a GPU, in place of its own")
    parser.add_argument("--rate", type=above_0, metavar="TFLOP/S", help="of all products, in place of the GPU's")
    parser.add_argument("--bandwidth", type=above_0, metavar="GB/S", help="of its memory, in place of the GPU's")
    parser.add_argument(
        "--efficiency",
        type=share,
        default=1.0,
        metavar="SHARE",
        help="of the bound that computing reaches (default: 1)",
    )
    parser.add_argument("--against", metavar="SPEC", help="put another spec beside it, at the same batch")
    parser.add_argument(
        "--growth", type=named_path, metavar="FILE.png", help="also count longer and larger videos; plot"
    )
    parser.add_argument("--json", action="store_true", help="print JSON: bytes, FLOPs, seconds")
    return parser


if __name__ == "__main__":
    sys.exit(run(main, parser()))
