"""Decoding many videos in processes that may die.

A damaged video can crash the decoder's process or hang it. Each worker is a spawned process that holds
one video at a time, so that whichever dies or takes too long names its video; a fresh one takes its place.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import time
import traceback
from collections.abc import Callable, Generator, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TypeAlias

from datasets.base import Frames
from datasets.decode import VideoError

TIMEOUT = 600.0
"""Seconds that one video may take."""

Decode: TypeAlias = Callable[[Path], Frames]


def decode_in_order(
    paths: Sequence[Path], decode: Decode, workers: int, timeout: float = TIMEOUT
) -> Generator[Frames | VideoError]:
    """What ``decode`` makes of every path, in the order of the paths, whichever is ready first.

    Args:
        paths: the videos.
        decode: a function that can be pickled.
        workers: number of processes.
        timeout: seconds that one video may take.

    Yields:
        A video's frames, or the error that it raised or that its process died of.
    """
    crew = [_Worker(decode) for _ in range(min(workers, len(paths)))]
    done: dict[int, Frames | VideoError] = {}
    started = given = 0
    try:
        while given < len(paths):
            for worker in crew:
                # Results wait in memory for their turn, so nobody runs far ahead.
                if worker.number is None and started < min(len(paths), given + 2 * workers):
                    worker.start(started, paths[started], timeout)
                    started += 1
            wait([worker.connection for worker in crew if worker.number is not None], timeout=1.0)
            for place, worker in enumerate(crew):
                number, outcome = worker.number, worker.poll()
                if number is None or outcome is None:
                    continue
                done[number] = outcome
                if worker.dead:
                    crew[place] = _Worker(decode)
            while given in done:
                yield done.pop(given)
                given += 1
    finally:
        for worker in crew:
            worker.stop()


class _Worker:
    """A process that decodes one video at a time."""

    def __init__(self, decode: Decode) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(decode, theirs), daemon=True)
        self._process.start()
        theirs.close()
        self.number: int | None = None
        self.dead = False
        self._ready = False

    def start(self, number: int, path: Path, timeout: float) -> None:
        """Have it decode the video ``path``, whose place in the order is ``number``."""
        self.number, self._path = number, path
        self._deadline, self._timeout = time.monotonic() + timeout, timeout
        self.connection.send(path)

    def poll(self) -> Frames | VideoError | None:
        """What became of the video, None while that is open."""
        if self.number is None:
            return None
        if not self.connection.poll():
            if time.monotonic() < self._deadline:
                return None
            self.stop()
            return VideoError(self._path, f"was not decoded within {self._timeout:g} s")
        try:
            outcome = self.connection.recv()
        except (EOFError, ConnectionResetError):
            self._process.join(timeout=5.0)
            self.stop()
            if not self._ready:
                raise RuntimeError(f"a decoding process did not start (exit code {self._process.exitcode})") from None
            return VideoError(self._path, f"crashed the decoder (exit code {self._process.exitcode})")
        if outcome is None:
            self._ready = True
            return None
        self.number = None
        if isinstance(outcome, str):
            raise RuntimeError(f"decoding {self._path} failed:\n{outcome}")
        result: Frames | VideoError = outcome
        return result

    def stop(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.join()
        self.connection.close()
        self.number, self.dead = None, True


def _work(decode: Decode, connection: Connection) -> None:
    """A worker's life: paths in, frames or errors out, until the other end is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        connection.send(None)  # a process that dies from here on dies of its video
        while True:
            connection.send(_outcome(decode, connection.recv()))


def _outcome(decode: Decode, path: Path) -> Frames | VideoError | str:
    """A video's frames, its error, or the traceback of a fault of the program, which the parent raises."""
    try:
        return decode(path)
    except VideoError as error:
        return error
    except Exception:  # noqa: BLE001  # nothing is hidden: see above
        return traceback.format_exc()
