"""Clips of which one, until its Slurm job was started anew, is read only when the process was told to stop.

So that a job is stopped amid its training, however fast that is and however late the order comes.
"""

from __future__ import annotations

import itertools
import os
import signal
import threading
from types import FrameType

from datasets.base import Frames
from datasets.sources.synthetic import SyntheticClips
from registry import DATASETS

BEFORE = 10
"""Windows that are read before: those of the first iterations."""


@DATASETS.register
class WaitingClips(SyntheticClips):
    """Synthetic clips, pixel for pixel; read in the training process itself, where signals arrive."""

    _windows = itertools.count()

    def window(self, clip: int, start: int, frames: int) -> Frames:
        """The frames ``start <= t < start + frames`` of a clip."""
        if os.environ.get("SLURM_RESTART_COUNT", "0") == "0" and next(self._windows) == BEFORE:
            _await_order()
        return super().window(clip, start, frames)


def _await_order() -> None:
    """Until SIGTERM came, which does all the same what it would do."""
    told = threading.Event()
    before = signal.getsignal(signal.SIGTERM)
    assert callable(before), "training has no handler of its own"

    def on_signal(number: int, frame: FrameType | None) -> None:
        before(number, frame)
        told.set()

    signal.signal(signal.SIGTERM, on_signal)
    assert told.wait(300), "never told to stop"
