"""Ending a program with all that it has started, also what has a session of its own or has lost its parent.

torchrun starts its workers in sessions of their own, so that no signal to the program's process group reaches them.
What was started is known by a mark in its environment, which it inherits, and by its parents. Linux only (``/proc``).
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import attrs

MARK = "BENCHMARK_PART"
"""The variable of the environment; each part has a value of its own."""
GRACE = 4.0
"""Seconds from SIGTERM to SIGKILL: torchrun ends its workers within them."""
LAST = 3.0
"""Seconds that are waited for what was killed."""


@attrs.frozen
class Process:
    """A process; ``began`` tells it from a later one of the same number."""

    pid: int
    began: int


def end(mark: str) -> None:
    """Ask all that bears ``mark``, and what that has started, to end; kill what does not."""
    found = running(mark)
    try:
        _signal(found, signal.SIGTERM)
        found = _wait(mark, found, GRACE)
    finally:
        # Again and again: what is being killed may have started more.
        until = time.monotonic() + LAST
        while found and time.monotonic() < until:
            _signal(found, signal.SIGKILL)
            found = _wait(mark, found, 0.1)


def running(mark: str, known: frozenset[Process] = frozenset()) -> frozenset[Process]:
    """What runs with ``mark`` or was ``known``, and their descendants."""
    parents: dict[Process, int] = {}
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended meanwhile, or is another user's
            state, parent, *rest = (folder / "stat").read_text().rpartition(")")[2].split()
            if state in "ZX":
                continue
            process = Process(int(folder.name), int(rest[17]))
            parents[process] = int(parent)
            if process in known or f"{MARK}={mark}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                found.add(process)
    while more := {each for each, parent in parents.items() if parent in {one.pid for one in found}} - found:
        found |= more
    return frozenset(found)


def _wait(mark: str, found: frozenset[Process], seconds: float) -> frozenset[Process]:
    """What of it, and of what it has started since, still runs when all has ended or ``seconds`` are over."""
    until = time.monotonic() + seconds
    while (found := running(mark, found)) and time.monotonic() < until:
        time.sleep(0.05)
    return found


def _signal(processes: frozenset[Process], number: signal.Signals) -> None:
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process.pid, number)


@contextmanager
def sigterm_unwinds() -> Iterator[None]:
    """Within, SIGTERM raises ``SystemExit``, as SIGINT raises ``KeyboardInterrupt``: what was begun is cleared up."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
