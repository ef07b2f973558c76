"""Decode a folder of videos into a clip store, which training reads."""

from __future__ import annotations

import _path  # noqa: F401  # before any other import: see there

import argparse
import sys
from typing import get_args

from datasets.decode import Resize
from datasets.ingest import ingest
from datasets.options import IngestOptions, LevelView
from datasets.place import Ingested, check_apart
from datasets.runners import dask
from datasets.shares import Share, ingest_share, merge_shares
from datasets.sources.base import EXTENSIONS
from datasets.sources.layouts import LAYOUTS, SourceFolder
from datasets.store import QUARANTINE
from datasets.work import MAX_BROKEN
from registry import InputError
from registry.cli import named_path, run, say


def main(arguments: argparse.Namespace) -> int:
    """Ingest."""
    _check_how(arguments)
    check_apart(arguments.source, arguments.store)
    source = SourceFolder(arguments.source, arguments.layout, tuple(sorted(set(arguments.split))))
    options = IngestOptions(
        size=arguments.size,
        stride=arguments.stride,
        codec=arguments.codec,
        min_frames=arguments.min_frames,
        resize=arguments.resize,
        levels=_levels(arguments) if arguments.levels is not None else (),
    )
    done = _ingest(arguments, source, options)
    if done is None:
        say(f"{arguments.store}: share {arguments.task_index} of {arguments.task_count} is done, others are not yet")
        return 0
    manifest = done.manifest
    classes = "no classes" if manifest.classes is None else f"{len(manifest.classes)} classes"
    standing = "written" if done.fresh else "stands there already, made of the same videos in the same way"
    say(f"{arguments.store}: {manifest.clips} clips, {classes}, {manifest.frames} frames; {standing}")
    if done.left_out:
        say(f"{arguments.store / QUARANTINE} lists {done.left_out} videos that were left out")
    return 0


def _ingest(arguments: argparse.Namespace, source: SourceFolder, options: IngestOptions) -> Ingested | None:
    """The ingestion, or the part of it that is asked for."""
    path, most = arguments.store, arguments.max_broken
    if arguments.merge:
        return merge_shares(source, path, options, arguments.task_count or 1, max_broken=most)
    if arguments.task_index is not None:
        share = Share(arguments.task_index, arguments.task_count)
        return ingest_share(source, path, options, share, workers=arguments.workers, max_broken=most)
    return ingest(
        source,
        path,
        options,
        workers=arguments.workers,
        runner=dask(arguments.scheduler) if arguments.scheduler else None,
        max_broken=most,
        overwrite=arguments.overwrite,
    )


def _check_how(arguments: argparse.Namespace) -> None:
    """Refuse ways of running that do not go together."""
    index, count = arguments.task_index, arguments.task_count
    if index is not None and (count is None or index >= count):
        what = f"{index} is no share" + ("" if count is None else f" of {count}")
        raise InputError.of("--task-index", what, allowed="0 to --task-count less 1")
    if count is not None and index is None and not arguments.merge:
        raise InputError.of("--task-count", "says nothing alone", allowed="with --task-index, or with --merge")
    in_shares = index is not None or arguments.merge
    if arguments.merge and index is not None:
        raise InputError.of("--merge", "is a call of its own", allowed="without --task-index")
    if in_shares and (arguments.scheduler or arguments.overwrite):
        name = "--scheduler" if arguments.scheduler else "--overwrite"
        raise InputError.of(name, "does not go with shares of an ingestion", allowed="without --task-index and --merge")


def _levels(arguments: argparse.Namespace) -> tuple[LevelView, ...]:
    """What the stages of the experiment ``--levels`` are made of other than the whole frames."""
    # Only here, since it takes torch and all components with it.
    from framework.level_views import level_views

    return level_views(arguments.levels, arguments.size, arguments.stride)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    defaults = IngestOptions()
    parser = argparse.ArgumentParser(
        prog="tools/ingest.py",
        description=f"{__doc__} Frames are scaled so that their short side is SIZE, and cropped to the centre square. "
        "Videos of variable frame rate are brought to the rate of most of their frames by their timestamps. "
        "A store is made in STORE.partial and renamed when it is whole; a run that was ended goes on when the same "
        "command is given again. docs/stores.md has the layouts, and what happens to broken videos.",
        epilog="example: python tools/ingest.py data/videos data/videos.zarr --size 64 --stride 2",
    )
    parser.add_argument("source", metavar="SOURCE", type=named_path, help=f"folder of videos ({', '.join(EXTENSIONS)})")
    parser.add_argument("store", metavar="STORE", type=named_path, help="the store to make, such as data/videos.zarr")
    _add_what(parser, defaults)
    _add_how(parser)
    return parser


def _add_what(parser: argparse.ArgumentParser, defaults: IngestOptions) -> None:
    """Options that decide what is in the store."""
    parser.add_argument(
        "--layout",
        choices=sorted(LAYOUTS),
        default="folder",
        help="how SOURCE is laid out; folder: SOURCE/CLASS/VIDEO, or SOURCE/VIDEO without classes; kinetics: "
        "ID_START_END.mp4, flat or in folders of classes, in train/val/test or not, with annotations/*.csv; "
        "bdd100k: videos/{train,val,test}/*.mov with lists and labels (default: %(default)s)",
    )
    parser.add_argument(
        "--split", nargs="+", default=[], metavar="SPLIT", help="only videos of these splits, such as train val"
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
        "--resize",
        choices=get_args(Resize),
        default=defaults.resize,
        help="short-crop: scale the short side, crop the long one; stretch: scale both; long-pad: scale the long "
        "side, black bars beside the short one (default: %(default)s)",
    )
    parser.add_argument(
        "--codec",
        choices=["none", "zstd"],
        default=defaults.codec,
        help="none is read fastest, zstd takes less room (default: %(default)s)",
    )
    parser.add_argument(
        "--levels",
        metavar="SPEC",
        type=_text,
        help="also store the smaller frames that the stages of this experiment are made of, so that training "
        "reads them instead of computing them",
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
        default=MAX_BROKEN,
        metavar="FRACTION",
        help="fail when more than this part of the videos cannot be decoded (default: %(default)s)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace another store that stands at STORE")


def _add_how(parser: argparse.ArgumentParser) -> None:
    """Options that decide what does the work; whatever they are, the store is the same."""
    parser.add_argument(
        "--workers", type=_positive, default=2, metavar="N", help="decoding processes (default: %(default)s)"
    )
    parser.add_argument(
        "--scheduler", metavar="ADDRESS", type=_text, help="decode on the Dask cluster of this scheduler"
    )
    parser.add_argument(
        "--task-index", type=_natural, metavar="I", help="do share I of --task-count, as one task of a Slurm array"
    )
    parser.add_argument("--task-count", type=_positive, metavar="N", help="number of shares, the same for each")
    parser.add_argument(
        "--merge", action="store_true", help="merge what the shares have done, or say which of them are not done"
    )


def _text(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("it is empty")
    return text


def _positive(text: str) -> int:
    return _at_least(1, text)


def _natural(text: str) -> int:
    return _at_least(0, text)


def _at_least(least: int, text: str) -> int:
    number = int(text)
    if number < least:
        raise argparse.ArgumentTypeError(f"{number} is not at least {least}")
    return number


def _fraction(text: str) -> float:
    number = float(text)
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f"{number} is not from 0 to 1")
    return number


# argparse names them in its errors
_positive.__name__ = _natural.__name__ = "whole number"
_fraction.__name__ = "number"

if __name__ == "__main__":
    sys.exit(run(main, parser()))
