"""Generate videos from a trained run, or from one artifact: every stage of each sample side by side, at any length."""

from __future__ import annotations

import _path  # noqa: F401  # before any other import: see there

import argparse
import sys

from framework.generate import generate
from framework.launch import LAUNCHERS, launched
from framework.pictures import FILM_RATE
from framework.request import FORMATS, Request
from framework.stopping import unwound
from registry import InputError
from registry.cli import at_least_0, named_path, positive, run, say, whole


def main(arguments: argparse.Namespace) -> int:
    """Generate."""
    with launched(arguments.launcher), unwound():
        for path in generate(arguments.run, request_of(arguments), arguments.out):
            say(str(path))
    return 0


def request_of(arguments: argparse.Namespace) -> Request:
    """What the command line asks for.

    Raises:
        InputError: a format is unknown.
    """
    formats = tuple(dict.fromkeys(arguments.format.split(",")))
    for name in formats:
        if name not in FORMATS:
            raise InputError.unknown("--format", "format", name, FORMATS)
    return Request(
        stage=arguments.stage,
        count=arguments.count,
        frames=arguments.frames,
        label=arguments.label,
        sigma=arguments.sigma,
        seed=arguments.seed,
        between=None if arguments.between is None else tuple(arguments.between),
        formats=formats,
        rate=arguments.rate,
        batch=arguments.batch,
    )


def add_options(parser: argparse.ArgumentParser, rate: str = str(FILM_RATE)) -> None:
    """The options that say what is generated, how, and into what; ``rate`` is the films' default, in words."""
    defaults = Request()
    parser.add_argument("--stage", metavar="NAME", help="the last stage to run (default: the last of the cascade)")
    parser.add_argument("--count", type=positive, default=defaults.count, help="samples (default: %(default)s)")
    parser.add_argument("--label", metavar="NAME", help="a class by name (default: all in turn)")
    parser.add_argument(
        "--sigma", type=at_least_0, default=defaults.sigma, help="of the noise; 0.5 for pictures (default: %(default)s)"
    )
    parser.add_argument("--seed", type=whole, default=defaults.seed, help="(default: %(default)s)")
    parser.add_argument("--rate", type=positive, help=f"frames per second of films (default: {rate})")
    parser.add_argument(
        "--batch",
        type=positive,
        default=defaults.batch,
        help="samples at a time; they share a film and a picture (default: %(default)s)",
    )
    parser.add_argument(
        "--out",
        type=named_path,
        metavar="DIR",
        help="folder of the files (default: generated, in the run, of an artifact in the working directory)",
    )
    parser.add_argument(
        "--format", default=",".join(defaults.formats), help=f"some of {','.join(FORMATS)} (default: %(default)s)"
    )
    parser.add_argument(
        "--launcher",
        choices=LAUNCHERS,
        default="none",
        help="what started the processes that share the samples: nothing, torchrun, srun or mpirun "
        "(default: %(default)s)",
    )


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="tools/generate.py",
        description=__doc__,
        epilog="examples: python tools/generate.py runs/quickstart --count 4 --label circle --sigma 0.5; "
        "python tools/generate.py runs/quickstart/full/artifact --frames 1600 --format zarr",
    )
    parser.add_argument(
        "run", metavar="RUN", type=named_path, help="work directory of tools/train.py, or an artifact's folder"
    )
    parser.add_argument(
        "--frames",
        type=positive,
        metavar="T",
        help="length of the last stage's videos (default: its clip's); tools/statistics.py for batch-norm statistics "
        "of other lengths",
    )
    parser.add_argument(
        "--between",
        type=whole,
        nargs=2,
        metavar=("A", "B"),
        help="samples on the way from the noise of sample A to that of sample B",
    )
    add_options(parser)
    return parser


if __name__ == "__main__":
    sys.exit(run(main, parser()))
