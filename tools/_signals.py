"""Imported before the libraries, which take seconds: a signal meanwhile ends the command as it would later.

Without a word and with the exit code of :mod:`registry.cli`, which is one of those libraries. Whoever takes the
signals over afterwards (``framework.stopping``) sets handlers of its own.
"""

import multiprocessing
import os
import signal
import sys
from functools import partial
from types import FrameType

_CODES = {signal.SIGTERM: 75, signal.SIGUSR1: 75, signal.SIGINT: 130}


def _end(code: int, number: int, frame: FrameType | None) -> None:
    os._exit(code)  # nothing has been begun


# Not where the libraries are there, nor in loader workers, which import the command's file anew.
if "torch" not in sys.modules and multiprocessing.parent_process() is None:
    for _number, _code in _CODES.items():
        signal.signal(_number, partial(_end, _code))
