"""A program for Slurm to start: the first time it waits to be stopped, started anew it is done.

``python stoppable.py FOLDER``. Stopped by a signal it ends with code 75, the second task a second after the first.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

folder, rank = Path(sys.argv[1]), int(os.environ["SLURM_PROCID"])
start = os.environ.get("SLURM_RESTART_COUNT", "0")


def stop(number: int, frame: object) -> None:
    """Take some time over it, as a save does."""
    signal.signal(number, signal.SIG_IGN)
    time.sleep(rank)
    (folder / f"stopped.{rank}").write_text(signal.Signals(number).name)
    sys.exit(75)


signal.signal(signal.SIGUSR1, stop)
signal.signal(signal.SIGTERM, stop)
(folder / f"start.{start}.{rank}").touch()
if start == "0":
    time.sleep(600)
