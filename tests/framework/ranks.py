"""Several processes that train together, for tests: real ones, joined by gloo.

They are forked from a server that has imported torch once, so starting them takes no time.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import shutil
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import distributed

from framework.together import end_control, start_control

PATIENCE = 300.0
"""Seconds that ranks may take: far more than they do, and so no assertion about time."""
PRELOAD = [
    "framework.train",
    "framework.launch",
    "matplotlib.figure",
    "torch._dynamo",
    "torch.utils.tensorboard",
    __name__,
]
"""What the server has imported: the rest takes long in libraries that training comes to load."""


class Rank:
    """One of the processes, and what has become of it."""

    def __init__(self, number: int, folder: Path, process: Any) -> None:
        self.number, self._folder, self.process = number, folder, process

    @property
    def pid(self) -> int:
        """Of the process."""
        return self.process.pid

    @property
    def out(self) -> str:
        """What it wrote to stdout so far."""
        return self._read("out")

    @property
    def err(self) -> str:
        """What it wrote to stderr so far."""
        return self._read("err")

    def _read(self, name: str) -> str:
        path = self._folder / f"{name}.{self.number}"
        return path.read_text() if path.exists() else ""  # not begun yet

    def wait(self) -> int:
        """Its exit code, once it has ended; minus the signal, if one ended it."""
        self.process.join(PATIENCE)
        assert self.process.exitcode is not None, f"rank {self.number} goes on: {self.err}"
        return self.process.exitcode

    def result(self) -> Any:
        """What its function returned."""
        assert self.wait() == 0, self.err
        return pickle.loads((self._folder / f"result.{self.number}").read_bytes())  # noqa: S301  # our own

    def tell(self, number: int) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def reached(self, name: str) -> None:
        """Wait until it has come by ``mark(name)``."""
        deadline = time.monotonic() + PATIENCE
        while not (self._folder / f"{name}.{self.number}").exists():
            assert self.process.exitcode is None, f"rank {self.number} ended: {self.err}"
            assert time.monotonic() < deadline, f"rank {self.number} never came to {name}: {self.err}"
            time.sleep(0.01)


@contextlib.contextmanager
def started(function: Callable[..., Any], world: int, folder: Path, *arguments: Any) -> Iterator[list[Rank]]:
    """Processes that run ``function(*arguments)``, a module's own, in a process group with its control group.

    A function marks where it is by :func:`mark`. What is left of the processes in the end is killed.
    """
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
    ranks = []
    for number in range(world):
        process = context.Process(target=_run, args=(function, number, world, folder, arguments))
        process.start()
        ranks.append(Rank(number, folder, process))
    try:
        yield ranks
    finally:
        for rank in ranks:
            if rank.process.is_alive():
                rank.process.kill()
            rank.process.join()


def results(function: Callable[..., Any], world: int, folder: Path, *arguments: Any) -> list[Any]:
    """What ``function(*arguments)`` returns in each of ``world`` processes."""
    with started(function, world, folder, *arguments) as ranks:
        return [rank.result() for rank in ranks]


def mark(name: str) -> None:
    """Let the test know that this rank came by; see :meth:`Rank.reached`."""
    Path(os.environ["RANKS_FOLDER"], f"{name}.{distributed.get_rank()}").touch()


def await_mark(name: str, rank: int) -> None:
    """Wait until ``rank`` has come by ``mark(name)``."""
    while not Path(os.environ["RANKS_FOLDER"], f"{name}.{rank}").exists():
        time.sleep(0.01)


def _run(function: Callable[..., Any], number: int, world: int, folder: Path, arguments: tuple[Any, ...]) -> None:
    for name, descriptor in (("out", 1), ("err", 2)):
        with (folder / f"{name}.{number}").open("wb") as file:
            os.dup2(file.fileno(), descriptor)
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(each, signal.default_int_handler if each == signal.SIGINT else signal.SIG_DFL)
    os.environ.update(RANKS_FOLDER=str(folder), RANK=str(number), WORLD_SIZE=str(world))
    multiprocessing.set_start_method("fork", force=True)  # as a command's own processes have it
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", f"file://{folder}/store", rank=number, world_size=world, timeout=timedelta(minutes=10)
    )
    start_control()
    try:
        result = function(*arguments)
    except SystemExit:
        raise
    except BaseException:  # noqa: BLE001  # the test reads it in what the rank wrote
        traceback.print_exc()
        # Not a clean end: no group is taken down that others may wait in.
        os._exit(1)
    (folder / f"result.{number}").write_bytes(pickle.dumps(result))
    end_control()
    distributed.destroy_process_group()
