"""Progress on long work: a bar on a terminal, a plain line now and then in a log file."""

from __future__ import annotations

import sys
from typing import Any

from tqdm import tqdm

from registry.cli import speaks

LOG_SECONDS = 30.0
"""Time between two lines in a log file."""


class Progress(tqdm):  # type: ignore[misc]  # tqdm is untyped
    """tqdm on stderr, with rate and time left; where stderr is no terminal, a plain line every 30 s.

    Of several processes that run one command the first alone shows it.
    """

    def __init__(self, **options: Any) -> None:
        self.on_terminal = sys.stderr.isatty()
        lines = {"mininterval": LOG_SECONDS, "delay": LOG_SECONDS, "ncols": 0, "leave": False}
        pace = {} if self.on_terminal else lines
        super().__init__(file=sys.stderr, dynamic_ncols=self.on_terminal, disable=not speaks(), **pace, **options)

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        """Show the state: redraw the bar, or write a line."""
        if self.on_terminal:
            super().display(msg, pos)
        elif msg is None:
            self.fp.write(f"{self}\n")

    def seconds_left(self, reached: int) -> float:
        """From the ``reached``-th step to the end, at the mean rate so far; 0 before there is one."""
        done: int = reached - self.initial
        elapsed: float = self.format_dict["elapsed"]
        return (self.total - reached) * elapsed / done if done > 0 else 0.0

    def note(self, line: str) -> None:
        """Write ``line`` to stderr without spoiling the bar."""
        if not speaks():
            return
        if self.on_terminal:
            self.write(line, file=sys.stderr)
        else:
            self.fp.write(f"{line}\n")
