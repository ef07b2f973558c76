"""Decode a folder of videos into a clip store, which training reads."""

from __future__ import annotations

import _path  # noqa: F401  # before any other import: see there

import argparse
import sys
from pathlib import Path

from datasets.ingest import IngestOptions, ingest
from datasets.sources.folder import EXTENSIONS, list_folder
from registry.cli import run, say


def main(arguments: argparse.Namespace) -> int:
    """Ingest."""
    options = IngestOptions(
        size=arguments.size,
        stride=arguments.stride,
        codec=arguments.codec,
        min_frames=arguments.min_frames,
        max_broken=arguments.max_broken,
    )
    source = list_folder(arguments.source)
    done = ingest(source, arguments.store, options, workers=arguments.workers, overwrite=arguments.overwrite)
    manifest = done.manifest
    classes = "no classes" if manifest.classes is None else f"{len(manifest.classes)} classes"
    standing = "written" if done.fresh else "stands there already, made of the same videos in the same way"
    say(f"{arguments.store}: {manifest.clips} clips, {classes}, {manifest.frames} frames; {standing}")
    if done.left_out:
        say(f"{arguments.store / 'quarantine.json'} lists {done.left_out} videos that were left out")
    return 0


def parser() -> argparse.ArgumentParser:
    """The command line."""
    defaults = IngestOptions()
    parser = argparse.ArgumentParser(
        prog="tools/ingest.py",
        description=f"{__doc__} Frames are scaled so that their short side is SIZE, and cropped to the centre square. "
        "A store is written as STORE.partial and renamed when it is whole.",
        epilog="example: python tools/ingest.py data/videos data/videos.zarr --size 64 --stride 2",
    )
    parser.add_argument("source", metavar="SOURCE", type=Path, help=f"folder of videos ({', '.join(EXTENSIONS)})")
    parser.add_argument("store", metavar="STORE", type=Path, help="the store to make, such as data/videos.zarr")
    parser.add_argument(
        "--layout",
        choices=["folder"],
        default="folder",
        help="how SOURCE is laid out; folder: SOURCE/CLASS/VIDEO, or SOURCE/VIDEO without classes",
    )
    parser.add_argument(
        "--size", type=_positive, default=defaults.size, help="height and width in pixels (default: %(default)s)"
    )
    parser.add_argument(
        "--stride",
        type=_positive,
        default=defaults.stride,
        help="keep every STRIDE-th frame of the video (default: %(default)s)",
    )
    parser.add_argument(
        "--codec",
        choices=["none", "zstd"],
        default=defaults.codec,
        help="none is read fastest, zstd takes less room (default: %(default)s)",
    )
    parser.add_argument(
        "--min-frames",
        type=_positive,
        default=defaults.min_frames,
        metavar="N",
        help="leave out videos with fewer frames, counted after --stride (default: %(default)s)",
    )
    parser.add_argument(
        "--max-broken",
        type=_fraction,
        default=defaults.max_broken,
        metavar="FRACTION",
        help="fail when more than this part of the videos cannot be decoded (default: %(default)s)",
    )
    parser.add_argument(
        "--workers", type=_positive, default=2, metavar="N", help="decoding processes (default: %(default)s)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace another store that stands at STORE")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not at least 1")
    return number


def _fraction(text: str) -> float:
    number = float(text)
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f"{number} is not from 0 to 1")
    return number


_positive.__name__, _fraction.__name__ = "whole number", "number"  # argparse names them in its errors

if __name__ == "__main__":
    sys.exit(run(main, parser()))
