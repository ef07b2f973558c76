"""Lost ranks are found, named, and end the others: nobody waits for a process that will not come back.

Every rank but the first has a connection to rank 0. Over it both ends say each second that they are alive. A killed
process is found at once by its closed connection, one that hangs or whose machine is gone by its silence. Rank 0
judges the others, and each of them judges rank 0. A thread does all of it, and ends its process by itself, since the
main thread may wait in a collective that nothing ends.

Long work is no silence, as long as Python's other threads can run: waiting for a device, a disk or other ranks lets
them. A single call that keeps Python's lock for all of ``lost_after`` counts as a loss.
"""

from __future__ import annotations

from types import TracebackType

from torch import distributed

from components.ranks import rank, world
from framework.together import TOLD, on_first, together
from framework.watch_circle import LAST_WORD, Circle, First, Other, Verdict
from framework.watch_line import Address, connect, describe, listen
from registry import InputError
from registry.cli import BAD_INPUT, FAILED, INTERRUPTED
from registry.errors import AgreedError, Stopped, one_line, system_problem

BEAT = 1.0
"""Seconds between two signs of life."""
LOST_AFTER = 20.0
"""Seconds of silence after which a rank counts as lost."""


class Watch:
    """While entered, the ranks watch each other. With one rank nothing happens.

    A rank that is lost ends the others with one line that names it and exit code 75: within seconds where its process
    ended, else within ``lost_after`` and five seconds. A rank that leaves the block with an error of its own ends the
    others with that error's text and exit code. One that leaves without, or with an error that all ranks raise, ends
    nobody; rank 0 then waits for all others to leave.

    A collective's error, by which a lost rank often shows first, does not get out of the block before there was time
    to find a lost rank; if there is one, the process ends with the line that names it.

    An error of the watch itself ends its process with that error's traceback, and the others, which are told of it,
    with one line that names the rank; exit code 1.

    Args:
        beat: seconds between two signs of life.
        lost_after: seconds of silence after which a rank counts as lost.

    Raises:
        AgreedError: when entered: a rank cannot reach rank 0's machine.
    """

    def __init__(self, beat: float = BEAT, lost_after: float = LOST_AFTER) -> None:
        self._beat, self._lost_after = beat, lost_after
        self._circle: Circle | None = None

    def __enter__(self) -> Watch:
        if world() > 1:
            first: list[First] = []
            size = world()  # rank 0 opens by itself, where it is 1

            def open_first() -> Address:
                listener, address = listen()
                first.append(First(listener, address, size, self._beat, self._lost_after))
                return address

            address = on_first(open_first)
            try:
                joined = together(lambda: None if first else connect(address, rank(), self._lost_after))
            except BaseException:
                for each in first:
                    each.dismiss()
                raise
            self._circle = (
                first[0]
                if joined is None
                else Other(*joined, describe(rank()), address.who, self._beat, self._lost_after)
            )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._circle is None:
            return
        if error is not None:
            self.await_verdict(error)
        self._circle.leave(_farewell(error), failed=error is not None)
        self._circle = None

    def await_verdict(self, error: BaseException) -> None:
        """If ``error`` is a collective's, wait until a lost rank, which may be why, would have been found.

        Where one is found the process ends. Leaving the block does the same.
        """
        if self._circle is not None and of_a_collective(error):
            self._circle.thread.join(self._lost_after + 2 * LAST_WORD)


def of_a_collective(error: BaseException) -> bool:
    """Whether ``error`` looks like that of a collective whose other side went away."""
    signs = ("gloo", "NCCL", "Connection closed by peer", "Connection reset by peer")
    known = isinstance(error, distributed.DistError)
    return known or (isinstance(error, RuntimeError) and any(sign in str(error) for sign in signs))


def _farewell(error: BaseException | None) -> Verdict | None:
    """What the others end with when a rank leaves with ``error``; None where they come to an end themselves."""
    if error is None or isinstance(error, AgreedError) or TOLD in getattr(error, "__notes__", ()):
        return None
    if isinstance(error, Stopped):
        return Verdict(error.line.removeprefix("error: "), error.code) if error.own else None
    if isinstance(error, InputError):
        return Verdict("; ".join(map(str, error.problems)), BAD_INPUT)
    if isinstance(error, OSError):
        return Verdict(str(system_problem(error)), BAD_INPUT)
    if isinstance(error, KeyboardInterrupt):
        return Verdict("interrupted", INTERRUPTED)
    if isinstance(error, SystemExit):
        return Verdict(one_line(error), error.code if isinstance(error.code, int) else FAILED) if error.code else None
    return Verdict(one_line(error), FAILED)
