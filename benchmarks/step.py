"""What a training step costs against other ways to the same, all measured in one run, as ratios.

Two ways take turns in one process, and the median of the ratios is printed, with its quartiles. A ratio that
is below what is asked for says so. A row whose other side is not here says so.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from registry import InputError
from registry.cli import positive, run
from registry.errors import one_line

from clip_store_rows.measuring import MissingError, machine
from step_rows import (
    against_dvd_gan,
    loop,
    one_rank,
    options,
    others,
    peaks,
    plain,
    prefix,
    profile,
    ranks,
    utilisation,
)
from step_rows.line import Line, Settings, clear

ROWS: dict[str, tuple[str, Callable[[Settings], Iterator[Line]]]] = {
    "plain": ("our step against plain modules", plain.plain),
    "public": ("against the public DVD-GAN", others.public),
    "dgmr": ("our ConvGRU against DGMR's", others.dgmr),
    "prefix": ("what the frozen prefix adds", prefix.prefix),
    "prefix-operations": ("what it adds at full width", prefix.prefix_operations),
    "loader": ("waiting for the loader", loop.loader),
    "overhead": ("around the step", loop.overhead),
    "ranks": ("from 1 rank to 2", ranks.ranks),
    "one-rank": ("through a process group of one rank", one_rank.one_rank),
    "peak": ("predicted peak memory over measured", peaks.peaks),
    "memory": ("against DVD-GAN of the same output", against_dvd_gan.memory),
    "time": ("against DVD-GAN of the same output", against_dvd_gan.time),
    "smoke": ("each option computes what the defaults do", options.smoke),
    "repeat": ("deterministic runs are equal", options.repeated),
    "options": ("one option against the defaults", options.options),
    "compile": ("`torch.compile` against the defaults", options.compiled),
    "utilisation": ("achieved operations per second", utilisation.utilisation),
}
ASKED_FOR = ("smoke", "repeat", "one-rank", "peak", "compile", "utilisation")
"""Rows that are not measured unless named: tests do the first three for CPUs and benchmarks/memory.py the next,
compiling takes minutes, and the last is of GPUs."""
TABLE, PROFILE_TABLE = "docs/performance.md, The step on a CPU", "docs/performance.md, Where the time goes"
PACKAGES = ("torch", "numpy", "mmengine")


NAMES = (*ROWS, "profile")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    rows = [*((name, work) for name, (work, _) in ROWS.items()), ("profile", "where the time goes, before and after")]
    parser = argparse.ArgumentParser(
        prog="benchmarks/step.py",
        description=f"{__doc__.partition(chr(10))[0]} Makes {TABLE}, and by the row profile {PROFILE_TABLE}.",
        epilog="rows:\n" + "\n".join(f"  {name:18} {work}" for name, work in rows),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"(default: all but {', '.join(ASKED_FOR)})")
    parser.add_argument("--runs", type=positive, default=5, help="pairs of turns (default: %(default)s)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="(default: %(default)s)")
    parser.add_argument("--threads", type=positive, default=1, help="of torch on the CPU (default: %(default)s)")
    parser.add_argument("--dvd-gan", type=Path, metavar="FOLDER", help="a checkout of the public DVD-GAN")
    parser.add_argument("--dgmr", type=Path, metavar="FOLDER", help="a folder into which pip has put dgmr")
    parser.add_argument("--quick", action="store_true", help="the smallest of everything, to try the rows themselves")
    return parser


def main(arguments: argparse.Namespace) -> int:
    """Measure the rows asked for."""
    if unknown := [name for name in arguments.rows if name not in NAMES]:
        raise InputError.unknown("ROW", "row", unknown[0], NAMES)
    for option, folder, inside in others.FOLDERS:
        if (given := getattr(arguments, folder)) is not None and not (given / inside).is_file():
            raise InputError.of(option, f"{given} has no {inside}", "a folder as --help says")
    device = torch.device(arguments.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise InputError("there is no GPU here")
    torch.set_num_threads(arguments.threads)
    settings = Settings(
        device=device,
        runs=2 if arguments.quick else arguments.runs,
        quick=arguments.quick,
        dvd_gan=arguments.dvd_gan,
        dgmr=arguments.dgmr,
    )
    rows = arguments.rows or [name for name in NAMES if name not in ASKED_FOR]
    if device.type == "cpu":
        print(f"{TABLE if set(rows) - {'profile'} else PROFILE_TABLE}:")
    print(f"{machine(PACKAGES)}; {card(device)}{torch.get_num_threads()} threads")
    print()
    failed = _ratios(settings, [name for name in rows if name in ROWS])
    if "profile" in rows:
        print(f"\n{PROFILE_TABLE}:")
        try:
            for line in profile.tables(settings):
                print(line, flush=True)
        except Exception as error:  # noqa: BLE001  # as above
            failed = 1
            print(f"failed: {one_line(error)}", flush=True)
            traceback.print_exc()
    return failed


def card(device: torch.device) -> str:
    """The GPU that is measured, if one is."""
    if device.type != "cuda":
        return ""
    found = torch.cuda.get_device_properties(device)
    return f"{found.name}, {found.total_memory / 2**30:.0f} GiB, CUDA {torch.version.cuda}; "


def _ratios(settings: Settings, rows: list[str]) -> int:
    """Print the table; returns 1 when a row failed."""
    failed = 0
    if rows:
        print("| row | work | asked for | measured (quartiles) | ours, theirs | losses apart |")
        print("| --- | --- | --- | --- | --- | --- |")
    for name in rows:
        work, measure = ROWS[name]
        started = time.perf_counter()
        try:
            for line in measure(settings):
                print(f"| {name} | {' | '.join(line.cells())} |", flush=True)
        except MissingError as missing:
            print(f"| {name} | {work} | | not measured: {missing} | | |", flush=True)
        except Exception as error:  # noqa: BLE001  # in its place; the other rows go on
            failed = 1
            said = str(error).strip().splitlines() or [""]
            print(f"| {name} | {work} | | failed: {type(error).__name__}: {said[0]} | | |", flush=True)
            traceback.print_exc()
        clear(settings.device)
        print(f"{name}: {time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(run(main, parser()))
