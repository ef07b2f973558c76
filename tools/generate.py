"""Generate videos from a trained run: every stage of each sample side by side."""

from __future__ import annotations

import _path  # noqa: F401  # before any other import: see there

import argparse
import sys
from pathlib import Path

from framework.generate import FORMATS, Request, generate
from framework.run_folder import RunFolder
from registry import InputError
from registry.cli import run, say


def main(arguments: argparse.Namespace) -> int:
    """Generate."""
    formats = tuple(arguments.format.split(","))
    for name in formats:
        if name not in FORMATS:
            raise InputError.unknown("--format", "format", name, FORMATS)
    request = Request(
        stage=arguments.stage,
        count=arguments.count,
        frames=arguments.frames,
        label=arguments.label,
        sigma=arguments.sigma,
        seed=arguments.seed,
        formats=formats,
        rate=arguments.rate,
    )
    for path in generate(RunFolder(arguments.run), request, arguments.out or arguments.run / "generated"):
        say(str(path))
    return 0


def parser() -> argparse.ArgumentParser:
    """The command line."""
    defaults = Request()
    parser = argparse.ArgumentParser(
        prog="tools/generate.py",
        description=__doc__,
        epilog="example: python tools/generate.py runs/quickstart --count 4 --label circle --sigma 0.5",
    )
    parser.add_argument("run", metavar="RUN", type=Path, help="work directory of tools/train.py")
    parser.add_argument("--stage", metavar="NAME", help="the last stage to run (default: the last of the cascade)")
    parser.add_argument("--count", type=_positive, default=defaults.count, help="samples (default: %(default)s)")
    parser.add_argument("--frames", type=_positive, metavar="T", help="length (default, and all there is: the clip's)")
    parser.add_argument("--label", metavar="NAME", help="a class by name (default: all in turn)")
    parser.add_argument(
        "--sigma",
        type=_at_least_0,
        default=defaults.sigma,
        help="of the noise; 0.5 for pictures (default: %(default)s)",
    )
    parser.add_argument("--seed", type=_whole, default=defaults.seed, help="(default: %(default)s)")
    parser.add_argument(
        "--rate", type=_positive, default=defaults.rate, help="frames per second (default: %(default)s)"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="(default: RUN/generated)")
    parser.add_argument(
        "--format", default=",".join(defaults.formats), help=f"some of {','.join(FORMATS)} (default: %(default)s)"
    )
    return parser


def _positive(text: str) -> int:
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    return int(text)


def _whole(text: str) -> int:
    if int(text) < 0:
        raise argparse.ArgumentTypeError(f"{text} is not at least 0")
    return int(text)


def _at_least_0(text: str) -> float:
    if not 0 <= float(text) < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a number of at least 0")
    return float(text)


_positive.__name__ = _whole.__name__ = "whole number"  # argparse names them in its errors
_at_least_0.__name__ = "number"

if __name__ == "__main__":
    sys.exit(run(main, parser()))
