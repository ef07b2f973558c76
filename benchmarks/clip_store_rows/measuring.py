"""Two ways in turn, as ratios; and what they were measured with."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import attrs


@attrs.frozen
class Ratio:
    """How many times as fast one way is as another: the median over pairs, measured one after the other."""

    value: float
    low: float
    """The first quartile of the pairs."""
    high: float
    """The third quartile of the pairs."""
    ours: float
    """Seconds of our way, the median."""
    theirs: float
    """Seconds of the other way, the median."""


def compare(ours: Callable[[], object], theirs: Callable[[], object], runs: int) -> Ratio:
    """``theirs`` over ``ours``, in turns, after one turn of each to warm up."""
    return compare_times(lambda: seconds(ours), lambda: seconds(theirs), runs)


def compare_times(ours: Callable[[], float], theirs: Callable[[], float], runs: int) -> Ratio:
    """The same for ways that take their own time, in seconds."""
    ours()
    theirs()
    pairs = [(ours(), theirs()) for _ in range(runs)]
    ratios = [b / a for a, b in pairs]
    low, value, high = quartiles(ratios)
    own, other = (statistics.median(times) for times in zip(*pairs, strict=True))
    return Ratio(value, low, high, own, other)


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """The first quartile, the median and the third; of one value, that value."""
    if len(values) == 1:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def seconds(call: Callable[[], object]) -> float:
    """How long ``call`` takes."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def check(sound: bool, otherwise: str) -> None:
    """Refuse to measure two ways that do not do the same."""
    if not sound:
        raise RuntimeError(otherwise)


def machine(packages: Iterable[str]) -> str:
    """The machine and the versions of what runs on it, in one line."""
    versions = [f"Python {platform.python_version()}", *(f"{name} {version(name)}" for name in packages)]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{_processor()}, {os.cpu_count()} cores, {memory:.0f} GiB, Linux {platform.release()}; {', '.join(versions)}"
    )


def version(package: str) -> str:
    """The installed version of ``package``."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())


class MissingError(Exception):
    """A row cannot be measured here; ``str()`` says what is missing."""
