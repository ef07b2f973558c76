"""What reading clips from a store costs against other ways to the same frames, all measured in one run.

It makes its own clips, of a drifting texture with noise, in a temporary folder: as stores, as a mapped file and as
H.264. Two ways are measured in turn and the median of the ratios is printed, with its quartiles. Everything
is read from memory, the disk has no part in it. A row whose package is missing says so.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from registry import InputError
from registry.cli import positive, run

from clip_store_rows import data, reading, training, video
from clip_store_rows.measuring import MissingError, Ratio, machine

Measure = Callable[[data.Data, int], Ratio | str]

ROWS: dict[str, tuple[str, str, Measure]] = {
    "memmap": ("random 12x128x128x3 windows, codec none, against an `np.memmap`", "0.6", reading.memmap),
    "memmap-first": ("the same when every chunk is used for the first time", "", reading.memmap_first),
    "zarr": ("the same against zarr-python's indexing of the store", "15", reading.zarr_python),
    "tensorstore": ("the same against tensorstore on the store", "3", reading.tensorstore("none")),
    "zstd": ("the same with zstd, against tensorstore with zstd", "1", reading.tensorstore("zstd")),
    "verify": ("checksums verified at every use, against never", "0.3", reading.verification),
    "pyav": ("the same against H.264 with PyAV, seeking", "50", video.pyav),
    "torchcodec": ("the same against H.264 with torchcodec", "50", video.torchcodec),
    "decord": ("the same against H.264 with decord", "50", video.decord),
    "level": ("batches of 25x32x32 at stride 8, from a level against views of 128x128", "5", training.level_views),
    "level-picked": ("the same against reading just those frames of 128x128", "", training.level_picked),
    "ingest": ("decoding whole files, against ffmpeg's scale and crop to null", "0.7", video.ffmpeg),
    "opening": ("opening a store of 500,000 clips", "2 s, 200 MB", training.opening),
    "loader": ("DataLoader with 2 workers, against 2 processes that only read", "0.7", training.loader(1)),
    "loader-kept": ("the same against 2 processes that keep what they read", "", training.loader(3 * training.BATCH)),
}
TABLE = "docs/benchmarks.md, The clip store"
PACKAGES = ("numpy", "torch", "av", "zarr", "numcodecs", "google-crc32c", "tensorstore", "torchcodec", "decord")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="benchmarks/clip_store.py", description=f"{__doc__.partition(chr(10))[0]} Makes {TABLE}."
    )
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of {', '.join(ROWS)} (default: all)")
    parser.add_argument("--runs", type=positive, default=9, help="pairs measured (default: %(default)s)")
    parser.add_argument("--clips", type=positive, default=64, help="of 100 frames, 5 MB each (default: %(default)s)")
    parser.add_argument("--windows", type=positive, default=200, help="windows in a turn (default: %(default)s)")
    parser.add_argument(
        "--quick", action="store_true", help="one pair, 4 clips, 10 windows, to try the rows themselves"
    )
    return parser


def main(arguments: argparse.Namespace) -> int:
    """Measure the rows asked for."""
    if unknown := [name for name in arguments.rows if name not in ROWS]:
        raise InputError.unknown("ROW", "row", unknown[0], ROWS)
    if arguments.quick:
        arguments.runs, arguments.clips, arguments.windows = 1, 4, 10
    print(f"{TABLE}:")
    print(machine(PACKAGES))
    print("| row | work | at least | measured (quartiles) | ours, theirs |")
    print("| --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory(prefix="clip_store_") as folder:
        made = data.make(Path(folder), arguments.clips, arguments.windows)
        for name in arguments.rows or ROWS:
            work, bar, measure = ROWS[name]
            print(f"| {name} | {work} | {bar} | {_measured(measure, made, arguments.runs)} |", flush=True)
    return 0


def _measured(measure: Measure, made: data.Data, runs: int) -> str:
    try:
        found = measure(made, runs)
    except MissingError as missing:
        return f"not measured: {missing} | "
    if isinstance(found, str):
        return f"{found} | "
    return f"{found.value:.3g} ({found.low:.3g} to {found.high:.3g}) | {_time(found.ours)}, {_time(found.theirs)}"


def _time(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{1000 * seconds:.1f} ms"


if __name__ == "__main__":
    sys.exit(run(main, parser()))
