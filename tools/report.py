"""Write a run as one page: the graph, samples beside real videos, curves, figures with their protocols, costs."""

from __future__ import annotations

import _path  # noqa: F401  # before any other import: see there

import argparse
import sys

from framework.report import write_report
from framework.report.samples import Shown
from framework.run_folder import RunFolder
from framework.targets import refuse_file
from registry.cli import at_least_0, named_path, positive, run, say, whole


def main(arguments: argparse.Namespace) -> int:
    """Report."""
    out = arguments.out or arguments.run / "report.html"
    if arguments.out:
        refuse_file(out)
    shown = Shown(samples=arguments.samples, sigma=arguments.sigma, seed=arguments.seed)
    say(str(write_report(RunFolder(arguments.run), out, shown)))
    return 0


def parser() -> argparse.ArgumentParser:
    """The command line."""
    defaults = Shown()
    parser = argparse.ArgumentParser(
        prog="tools/report.py",
        description=__doc__,
        epilog="example: python tools/report.py runs/quickstart; then open runs/quickstart/report.html",
    )
    parser.add_argument("run", metavar="RUN", type=named_path, help="work directory of tools/train.py")
    parser.add_argument("--out", type=named_path, metavar="FILE", help="(default: RUN/report.html)")
    parser.add_argument("--samples", type=positive, default=defaults.samples, help="(default: %(default)s)")
    parser.add_argument(
        "--sigma", type=at_least_0, default=defaults.sigma, help="of the samples' noise (default: %(default)s)"
    )
    parser.add_argument("--seed", type=whole, default=defaults.seed, help="of the samples (default: %(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(run(main, parser()))
