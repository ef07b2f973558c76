"""Write small videos of moving shapes, four classes of them, to try everything out on."""

from __future__ import annotations

import _path  # noqa: F401  # before any other import: see there

import argparse
import sys
from pathlib import Path

from datasets import SyntheticClips
from datasets.sources.synthetic import write_synthetic
from registry import DATASETS, use
from registry.cli import run, say


def main(arguments: argparse.Namespace) -> int:
    """Write what is missing."""
    dataset: SyntheticClips = DATASETS.build(
        use("SyntheticClips", clips=arguments.clips, frames=arguments.frames, size=arguments.size, seed=arguments.seed)
    )
    written = write_synthetic(arguments.out, dataset)
    say(f"{arguments.out}: {written} videos written, {len(dataset) - written} were there already")
    return 0


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="tools/synthetic.py",
        description=f"{__doc__} The videos are OUT/CLASS/CLASS_0001.mp4 and so on; run again, the command adds "
        "what is missing.",
        epilog="example: python tools/synthetic.py data/shapes --clips 512",
    )
    parser.add_argument("out", metavar="OUT", type=Path, help="folder for the videos")
    parser.add_argument("--clips", type=int, default=256, metavar="N", help="how many videos (default: %(default)s)")
    parser.add_argument("--frames", type=int, default=32, metavar="T", help="frames of each (default: %(default)s)")
    parser.add_argument("--size", type=int, default=32, metavar="S", help="pixels, even (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="another seed, other videos (default: %(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(run(main, parser()))
