"""Upsample a real low-resolution video by the later stages of a trained cascade (super-resolution)."""

from __future__ import annotations

import _path  # noqa: F401  # before any other import: see there

import argparse
import sys

from generate import add_options, request_of

from framework.launch import launched
from framework.pictures import FILM_RATE
from framework.stopping import unwound
from framework.upscale import upscale
from registry.cli import named_path, positive, run, say


def main(arguments: argparse.Namespace) -> int:
    """Upsample."""
    with launched(arguments.launcher), unwound():
        request = request_of(arguments)
        for path in upscale(arguments.run, arguments.video, request, arguments.out, arguments.source):
            say(str(path))
    return 0


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="tools/upscale.py",
        description=__doc__,
        epilog="example: python tools/upscale.py runs/quickstart small.mp4 --label circle --count 4",
    )
    parser.add_argument(
        "run", metavar="RUN", type=named_path, help="work directory of tools/train.py, or an artifact's folder"
    )
    parser.add_argument(
        "video",
        metavar="VIDEO",
        type=named_path,
        help="a video file; scaled and cropped to the size of the stage it stands for, frames as they come",
    )
    parser.add_argument("--source", metavar="NAME", help="the stage it stands for (default: the base stage)")
    parser.add_argument(
        "--frames", type=positive, metavar="T", help="the most frames of the result (default: what the video gives)"
    )
    parser.set_defaults(between=None)
    add_options(parser, rate=f"the film lasts as long as VIDEO, or {FILM_RATE} where that does not say its own")
    return parser


if __name__ == "__main__":
    sys.exit(run(main, parser()))
