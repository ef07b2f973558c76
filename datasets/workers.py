"""Work on many videos in processes that may die.

A damaged video can crash the decoder's process or hang it. So jobs run in processes of their own that say
which step (which video) they begin; a job whose process died or made no progress is run again by a fresh process,
and when that fails at the same step by a third one with that step forbidden. The first time may be the machine's
doing: short memory, a slow disk, somebody's kill.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from multiprocessing.connection import Connection, Pipe, wait
from typing import Any, Protocol, TypeAlias

from registry import InputError

TIMEOUT = 600.0
"""Seconds that a step may take between two signs of life."""
LONGEST_LOOK = 10.0
"""Seconds after which workers are looked after without a word of theirs, since a connection may be lost silently."""
OVERSLEPT = 1.0
"""Seconds over the time asked for after which a wait was no wait: this process stood still, its workers with it."""
OUT_OF_MEMORY = 77
"""Exit code of a process that had too little memory."""
NO_STEP = -1
"""What a job begins when nothing outside it could be at fault, such as writing."""

Begin: TypeAlias = Callable[[int], None]
"""Called by a job with the number of the step that it begins, and again while it gets on with it."""


class Job(Protocol):
    """A picklable function, run in another process, whose steps may crash or hang it."""

    def __call__(self, forbidden: Mapping[int, str], begin: Begin) -> Any:
        """Do the job but for the ``forbidden`` steps, of which it is said what they did."""


def run_jobs(
    jobs: Sequence[Job],
    workers: int,
    timeout: float = TIMEOUT,
    on_step: Callable[[int, int], None] = lambda job, step: None,
) -> Generator[tuple[int, Any]]:
    """Run ``jobs`` in disposable processes.

    Args:
        jobs: what to do.
        workers: number of processes.
        timeout: seconds that a step may take between two signs of life.
        on_step: called with the job's number and the step it is at.

    Yields:
        A job's number and its result, whichever is ready first.

    Raises:
        InputError: a job raised it.
        OSError: a job raised it.
        RuntimeError: a job failed otherwise, or its process died where no step is to blame.
    """
    waiting = [_State(number, job) for number, job in enumerate(jobs)][::-1]
    crew: list[Worker] = []
    try:
        while waiting or crew:
            while waiting and len(crew) < workers:
                crew.append(Worker.idle() or Worker())
                crew[-1].start(waiting.pop(), timeout)
            waited = _wait(crew)
            for worker in list(crew):
                outcome = worker.poll(on_step, waited)
                if outcome is None:
                    continue
                crew.remove(worker)
                if isinstance(outcome, _State):
                    waiting.append(outcome)
                else:
                    worker.rest()
                    yield worker.number, outcome[0]
    finally:
        for worker in crew:
            worker.stop()


class _State:
    """A job and what has become of it so far."""

    def __init__(self, number: int, job: Job) -> None:
        self.number, self.job = number, job
        self.forbidden: dict[int, str] = {}
        self.failures: Counter[int] = Counter()

    def blame(self, step: int, reason: str) -> None:
        """Note that a process failed at a step, which is forbidden from the second time on.

        Raises:
            RuntimeError: no step is to blame.
        """
        self.failures[step] += 1
        if self.failures[step] > 1:
            if step == NO_STEP:
                raise RuntimeError(f"a decoding process failed twice beside its videos: it {reason}")
            self.forbidden[step] = reason


class Worker:
    """A process that runs one job at a time, and ends when its parent does."""

    _resting: list[Worker] = []  # noqa: RUF012  # of this process; list operations are atomic between threads

    def __init__(self) -> None:
        self.connection, theirs = Pipe()
        life, self._life = os.pipe()
        code = f"import sys, json; sys.path[:] = json.loads(sys.argv[1]); from {__name__} import serve; serve()"
        # Not multiprocessing: its children may not have children, and a Dask worker is one.
        command = [sys.executable, "-c", code, json.dumps(sys.path), str(theirs.fileno()), str(life)]
        self._process = subprocess.Popen(command, pass_fds=(theirs.fileno(), life), stdin=subprocess.DEVNULL)  # noqa: S603  # ourselves
        theirs.close()
        os.close(life)
        self._ready = False

    @classmethod
    def idle(cls) -> Worker | None:
        """A living worker that has nothing to do, if there is one."""
        while cls._resting:
            worker = cls._resting.pop()
            if worker._process.poll() is None:
                return worker
            worker.stop()
        return None

    @property
    def number(self) -> int:
        """The number of its job."""
        return self._state.number

    @property
    def patience(self) -> float:
        """Seconds that it is still waited for."""
        return self._patience

    def start(self, state: _State, timeout: float) -> None:
        """Have it run a job."""
        self._state, self._timeout, self._step = state, timeout, NO_STEP
        self._patience = float("inf")
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # told by `poll`
            self.connection.send_bytes(pickle.dumps((state.job, state.forbidden)))

    def poll(self, on_step: Callable[[int, int], None], waited: float) -> tuple[Any] | _State | None:
        """The job's result, or the job itself to be run again by another, or None while it goes on.

        Args:
            on_step: called with the job's number and the step it is at.
            waited: seconds for which the process had nothing to say.
        """
        if not self.connection.poll():
            self._patience -= waited
            if self._patience > 0:
                return None
            self.stop()
            self._state.blame(self._step, f"made no progress for {self._timeout:g} s")
            return self._state
        try:
            kind, value = pickle.loads(self.connection.recv_bytes())  # noqa: S301  # of our own process
        except (EOFError, ConnectionResetError):
            return self._died()
        if kind == "ready":
            self._ready = True
        elif kind == "step":
            self._step = value
            self._patience = float("inf") if value == NO_STEP else self._timeout
            on_step(self._state.number, value)
        elif kind == "error":
            self.rest()
            raise value
        else:
            return (value,)
        return None

    def _died(self) -> _State:
        """The job after its process's death."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=5.0)
        code = self._process.returncode
        self.stop()
        if not self._ready:
            raise RuntimeError(f"a decoding process did not start (exit code {code})")
        what = "ran out of memory" if code == OUT_OF_MEMORY else f"crashed the decoder (exit code {code})"
        self._state.blame(self._step, what)
        return self._state

    def rest(self) -> None:
        """Keep the process for a later job."""
        self._resting.append(self)

    def stop(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        if not self.connection.closed:
            self.connection.close()
            os.close(self._life)


def stop_resting() -> None:
    """End the processes that wait for jobs."""
    while worker := Worker.idle():
        worker.stop()


def _wait(crew: Sequence[Worker]) -> float:
    """Wait until a worker has something to say: the seconds that took, 0 when this process stood still meanwhile.

    A job that is suspended, or a machine that is, is no fault of the videos.
    """
    patience = min(LONGEST_LOOK, max(0.0, min(worker.patience for worker in crew)))
    began = time.monotonic()
    wait([worker.connection for worker in crew], timeout=patience)
    waited = time.monotonic() - began
    return waited if waited < patience + OVERSLEPT else 0.0


def serve() -> None:
    """A worker's life: jobs in, steps and results out, until the other end is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C and a polite end are the parent's to handle
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    connection, life = Connection(int(sys.argv[2])), int(sys.argv[3])
    threading.Thread(target=_die_with_parent, args=(life,), daemon=True).start()

    def tell(kind: str, value: Any = None) -> None:
        connection.send_bytes(pickle.dumps((kind, value)))

    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        tell("ready")  # a process that dies from here on dies of its job
        while True:
            data = connection.recv_bytes()
            tell(*_outcome(data, lambda step: tell("step", step)))


def _outcome(data: bytes, begin: Begin) -> tuple[str, Any]:
    """A job's result or its error; the parent raises the latter."""
    try:
        job, forbidden = pickle.loads(data)  # noqa: S301  # from our own parent
        return "result", job(forbidden, begin)
    except MemoryError:  # as when the kernel ends the process for it, which is a matter of chance
        os._exit(OUT_OF_MEMORY)
    except (InputError, OSError) as error:
        return "error", error
    except Exception:  # noqa: BLE001  # nothing is hidden: see above
        return "error", RuntimeError(f"a decoding process failed:\n{traceback.format_exc()}")


def _die_with_parent(life: int) -> None:
    """Wait until the parent's end of the pipe is closed, which its death does at the latest."""
    os.read(life, 1)
    os._exit(1)
