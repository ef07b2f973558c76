"""Stopping when asked to: signals are remembered, and all ranks stop after the same iteration.

SIGTERM and SIGUSR1 are how Slurm and other schedulers say that the time is up, often to all processes of a job at
once and more than once, loader workers among them; SIGINT is Ctrl-C.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from types import FrameType, TracebackType
from typing import Any

import torch
from torch import distributed

from components.ranks import world
from framework.together import control
from registry.cli import INTERRUPTED, REQUEUE, speaks
from registry.errors import Stopped

_REQUESTS = (signal.SIGINT, signal.SIGUSR1, signal.SIGTERM)
"""What asks for a stop; where ranks were sent different ones, the last of these counts."""
_POLL = 1.0
"""Seconds until a loader worker notices that its parent is gone."""


class StopSignals:
    """While entered, SIGTERM, SIGUSR1 and SIGINT only leave a request, which :meth:`agreed_stop` asks for.

    A second SIGINT raises ``KeyboardInterrupt`` at once; further SIGTERM and SIGUSR1 change nothing. A thread other
    than the main one cannot have signal handlers: entered there, signals keep their effect.

    Args:
        to_the_end: signals stay like that when it is left, since a command that was told to stop twice would else
            die of the second time while it winds up, with another exit code.
    """

    def __init__(self, *, to_the_end: bool = False) -> None:
        self._to_the_end = to_the_end
        self._asked = self._agreed = 0  # 0, or 1 + the place in _REQUESTS
        self._interrupted = False
        self._before: dict[signal.Signals, Any] = {}
        self._pending: tuple[distributed.Work, torch.Tensor] | None = None
        self._owner = os.getpid()

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            self._owner = os.getpid()
            self._before = {number: signal.signal(number, self._on_signal) for number in _REQUESTS}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if not self._to_the_end:
            for number, handler in self._before.items():
                signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._before = {}

    def agreed_stop(self) -> bool:
        """Whether any rank has been asked to stop, once per iteration; the answer is the same in all ranks.

        With several ranks it is the answer to the question of the call before: nobody waits for it.
        """
        if world() == 1:
            self._agreed = max(self._agreed, self._asked)
        elif not self._agreed:
            self._await()
            if not self._agreed:
                self._ask()
        return self._agreed > 0

    def settle(self) -> bool:
        """The same, but for this very moment, and with no question left open: between stages and at the end."""
        if world() == 1:
            return self.agreed_stop()
        if not self._agreed:
            self._await()
            self._ask()
            self._await()
        return self._agreed > 0

    def stop(self, where: str) -> Stopped:
        """What to raise once a stop is agreed.

        Args:
            where: ``iteration 120 of base``.
        """
        name = _REQUESTS[self._agreed - 1].name
        code = INTERRUPTED if name == "SIGINT" else REQUEUE
        return Stopped(code, f"stopped by {name} at {where}; the same command carries on from there")

    def _ask(self) -> None:
        asked = torch.tensor([self._asked], dtype=torch.int32)
        work = distributed.all_reduce(asked, distributed.ReduceOp.MAX, group=control(), async_op=True)
        self._pending = (work, asked)

    def _await(self) -> None:
        if self._pending is not None:
            work, answer = self._pending
            work.wait()
            self._pending = None
            self._agreed = max(self._agreed, int(answer))

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._owner:
            return  # a child that was forked with this handler: its parent decides
        if number == signal.SIGINT:
            if self._interrupted:
                raise KeyboardInterrupt
            self._interrupted = True
            if speaks():
                # Not through sys.stderr: the signal may have come amid a write to it.
                os.write(2, b"\nstopping after this iteration; interrupt again to stop at once\n")
        self._asked = max(self._asked, _REQUESTS.index(signal.Signals(number)) + 1)


@contextmanager
def unwound() -> Iterator[None]:
    """While entered, SIGTERM ends the process as Ctrl-C does, with what was half written taken away; exit code 143.

    A thread other than the main one cannot have signal handlers: entered there, the signal keeps its effect.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _raise_exit)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _raise_exit(number: int, _: FrameType | None) -> None:
    raise SystemExit(128 + number)


@contextmanager
def workers_start() -> Iterator[None]:
    """Processes started inside are born with the signals of :class:`StopSignals` blocked.

    Else one that is signalled before :func:`shield_worker` dies of it.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _REQUESTS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def shield_worker(worker: int = 0) -> None:
    """A loader's ``worker_init_fn``: the worker goes on while its parent lives, whatever others send it.

    A scheduler's signal goes to all processes, and a loader whose worker died of it could not even finish the
    iteration. The parent's own SIGTERM ends the worker, and so does the parent's end.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        raise RuntimeError("this process is no worker")
    signal.pthread_sigmask(signal.SIG_BLOCK, _REQUESTS)
    threading.Thread(target=_end_with, args=(parent, os.getppid()), daemon=True).start()


def _end_with(parent: BaseProcess, above: int) -> None:
    """End this process when it should; a thread, since a handler would not learn who sent the signal."""
    # A forked worker's siblings keep it from seeing that its parent is gone, one of a fork server is not its child.
    while os.getppid() == above and parent.is_alive():
        got = signal.sigtimedwait([signal.SIGTERM], _POLL)
        if got is not None and got.si_pid == parent.pid:
            break
    os._exit(0)
