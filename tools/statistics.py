"""Estimate batch-norm statistics for videos of another length than the trained clip's, and keep them in the artifacts.

Every timestep has statistics of its own, estimated from 200 passes at the whole length (the paper, section A). Without
this step longer videos are generated with those of the trained clip, its last timesteps held.
"""

from __future__ import annotations

import _path  # noqa: F401  # before any other import: see there

import argparse
import sys

from framework.other_lengths import estimate_for
from registry.cli import named_path, positive, run, say


def main(arguments: argparse.Namespace) -> int:
    """Estimate."""
    for line in estimate_for(arguments.run, arguments.frames, arguments.stage, arguments.passes, arguments.batch):
        say(line)
    return 0


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="tools/statistics.py",
        description=__doc__,
        epilog="example: python tools/statistics.py runs/bdd_3stage --frames 1600",
    )
    parser.add_argument(
        "run", metavar="RUN", type=named_path, help="work directory of tools/train.py, or an artifact's folder"
    )
    parser.add_argument("--frames", type=positive, metavar="T", required=True, help="length of the last stage's videos")
    parser.add_argument("--stage", metavar="NAME", help="the last stage (default: the last of the cascade)")
    parser.add_argument("--passes", type=positive, help="forward passes (default: training.standing_passes)")
    parser.add_argument("--batch", type=positive, help="videos in each (default: training.standing_batch)")
    return parser


if __name__ == "__main__":
    sys.exit(run(main, parser()))
