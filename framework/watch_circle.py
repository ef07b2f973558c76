"""The threads by which ranks watch each other, and how they end their processes."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable
from contextlib import suppress
from multiprocessing.connection import wait
from traceback import format_exception
from typing import Any, NoReturn

import attrs

from framework.together import which
from framework.watch_line import Address, Line, kept
from registry.cli import FAILED, REQUEUE
from registry.errors import one_line

LAST_WORD = 3.0
"""Seconds that a last message may take to arrive."""


@attrs.frozen
class Verdict:
    """Why all processes end."""

    line: str
    """For a person, naming the rank."""
    code: int
    """Exit code of the processes that are left."""

    @classmethod
    def lost(cls, who: str, how: str) -> Verdict:
        """A rank was lost; another try may do better."""
        return cls(f"{who} was lost: {how}; the same command carries on from the last checkpoint", REQUEUE)


class Circle(ABC):
    """A thread that beats, listens and judges.

    Args:
        own: this rank for a person.
        beat: seconds between two signs of life.
        lost_after: seconds of silence after which a rank counts as lost.
    """

    def __init__(self, own: str, beat: float, lost_after: float) -> None:
        self._own, self._beat, self._lost_after = own, beat, lost_after
        self._leaves = False
        self._farewell: Verdict | None = None
        self._failed = False
        self._bell, self._ring = map(kept, socket.socketpair())
        self.thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def leave(self, farewell: Verdict | None, *, failed: bool = False) -> None:
        """Take leave of the others, with what they are to end with, and wait until they know; or leave ``failed``."""
        self._farewell, self._failed = farewell, failed
        self._leaves = True
        self._ring.send(b"!")
        self.thread.join()

    def _run(self) -> None:
        try:
            self._watch()
        except Exception as error:  # noqa: BLE001  # nobody else would hear of it
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        """End the process, and tell the others why: unwatched it would wait for ever for a rank that is lost.

        One that leaves with an error ends with that.
        """
        why = Verdict(f"the watch over the ranks failed: {one_line(error)}", FAILED)
        if not self._failed:
            self._farewell = why
        with suppress(Exception):  # the connections may be what fails; the others then find this rank lost
            self._take_leave()
        line = f"{self._own}: {why.line}\n{''.join(format_exception(error)).rstrip()}"
        if self._failed:
            _tell_of(line)
        else:
            _end(Verdict(line, FAILED), speaks=True)

    def _watch(self) -> None:
        woken, beaten = time.monotonic(), 0.0
        while not self._leaves or self._stays():
            awaited = [self._bell] if not self._leaves else []
            wait([*awaited, *self._sources()], max(0.0, beaten + self._beat - time.monotonic()))
            now = time.monotonic()
            if now - woken > self._lost_after / 2:
                # This process was held up, and heard nobody meanwhile: what they sent is read below.
                for line in self._lines():
                    line.heard = now
            woken = now
            if now >= beaten + self._beat:
                beaten = now
                for line in self._lines():
                    line.send()
            self._judge(now)
        self._take_leave()

    @abstractmethod
    def _lines(self) -> list[Line]:
        """To those who are watched."""

    def _sources(self) -> list[socket.socket]:
        """What may have something to read."""
        return [line.socket for line in self._lines() if not line.closed]

    @abstractmethod
    def _stays(self) -> bool:
        """Whether to watch on although this process would leave."""

    @abstractmethod
    def _judge(self, now: float) -> None:
        """Read what came, and end the process if there is reason to."""

    @abstractmethod
    def _take_leave(self) -> None:
        """Say the farewell."""


class First(Circle):
    """Rank 0, to which all others are connected.

    Args:
        listener: where they connect.
        address: of the listener.
        size: number of ranks.
        timing: see :class:`Circle`.
    """

    def __init__(self, listener: socket.socket, address: Address, size: int, *timing: float) -> None:
        super().__init__(address.who, *timing)
        self._listener, self._address = listener, address
        self._strangers: list[Line] = []
        self._joined: dict[int, Line] = {}
        self._who = {number: f"rank {number}" for number in range(1, size)}
        self._expected = set(self._who)
        self._hosts: set[str] = set()
        self._began = time.monotonic()
        self.thread.start()

    def dismiss(self) -> None:
        """End without the others, which have not come together."""
        self._expected.clear()
        self.leave(None)

    def _lines(self) -> list[Line]:
        return list(self._joined.values())

    def _sources(self) -> list[socket.socket]:
        return [self._listener, *(line.socket for line in self._strangers), *super()._sources()]

    def _stays(self) -> bool:
        return self._farewell is None and bool(self._expected)

    def _judge(self, now: float) -> None:
        self._let_in()
        for number, line in list(self._joined.items()):
            for message in line.read():
                if "verdict" in message:  # on this rank, which was held up for too long
                    _end(Verdict(*message["verdict"]), speaks=False)
                if "leaves" in message:
                    self._on_leave(number, message["leaves"])
        lost = {number: how for number in sorted(self._expected) if (how := self._loss(number, now))}
        if lost:
            number, *more = lost
            as_well = f"; {which(more)} as well" if more else ""
            self._end_all(Verdict.lost(self._who[number], lost[number] + as_well), but=set(lost))

    def _loss(self, number: int, now: float) -> str:
        line = self._joined.get(number)
        if line is not None and line.closed:
            return "its process ended without a word"
        silent = now - (self._began if line is None else line.heard)
        return f"not heard from for {self._lost_after:g} s" if silent > self._lost_after else ""

    def _on_leave(self, number: int, farewell: list[Any] | None) -> None:
        self._expected.discard(number)
        self._joined.pop(number).close()
        if farewell is not None:
            said, code = farewell
            self._end_all(Verdict(f"{self._who[number]} ended: {said}", code), but=set())

    def _let_in(self) -> None:
        with suppress(OSError):  # none is waiting, or it went away, or files have run out for now
            while True:
                self._strangers.append(Line(self._listener.accept()[0]))
        for line in list(self._strangers):
            try:
                messages = line.read()
            except ValueError:
                line.close()
            else:
                if messages and messages[0].get("secret") == self._address.secret:
                    self._welcome(line, **messages[0])
                elif not messages and not line.closed:
                    continue
                else:
                    line.close()
            self._strangers.remove(line)

    def _welcome(self, line: Line, rank: int, who: str, host: str, **_: Any) -> None:
        line.send(proof=self._address.proof, speaks=host not in self._hosts)
        self._hosts.add(host)
        self._joined[rank], self._who[rank] = line, who

    def _end_all(self, verdict: Verdict, but: set[int]) -> NoReturn:
        self._tell(verdict, but)
        _end(verdict, speaks=True)

    def _tell(self, verdict: Verdict, but: set[int]) -> None:
        """Tell all, and stay until they know, ``but`` for the lost: what was not read yet goes with this process."""
        for line in self._joined.values():
            line.send(verdict=attrs.astuple(verdict))
        _until_closed([line for number, line in self._joined.items() if number not in but])

    def _take_leave(self) -> None:
        if self._farewell is not None:
            said = Verdict(f"{self._address.who} ended: {self._farewell.line}", self._farewell.code)
            self._tell(said, but=set())
        self._listener.close()
        for line in (*self._strangers, *self._joined.values()):
            line.close()


class Other(Circle):
    """Any other rank, connected to rank 0.

    Args:
        line: to rank 0.
        speaks: whether to say so if rank 0 is lost; else another rank of this machine does.
        own: this rank for a person.
        who: rank 0 for a person.
        timing: see :class:`Circle`.
    """

    def __init__(self, line: Line, speaks: bool, own: str, who: str, *timing: float) -> None:
        super().__init__(own, *timing)
        self._line, self._speaks, self._who = line, speaks, who
        self.thread.start()

    def _lines(self) -> list[Line]:
        return [self._line]

    def _stays(self) -> bool:
        return False

    def _judge(self, now: float) -> None:
        for message in self._line.read():
            if "verdict" in message:
                _end(Verdict(*message["verdict"]), speaks=False)
        how = f"not heard from for {self._lost_after:g} s" if now - self._line.heard > self._lost_after else ""
        if self._line.closed:
            how = "its process ended without a word"
        if how:
            verdict = Verdict.lost(self._who, how)
            self._line.send(verdict=attrs.astuple(verdict))
            _end(verdict, self._speaks)

    def _take_leave(self) -> None:
        self._line.send(leaves=self._farewell and attrs.astuple(self._farewell))
        _until_closed([self._line])
        self._line.close()


def _until_closed(lines: Iterable[Line]) -> None:
    """Wait until the other ends have gone, which they do when they have read the last message."""
    deadline = time.monotonic() + LAST_WORD
    while (here := [line for line in lines if not line.closed]) and time.monotonic() < deadline:
        wait([line.socket for line in here], deadline - time.monotonic())
        for line in here:
            line.read()


def _end(verdict: Verdict, speaks: bool) -> NoReturn:
    """End the process, whatever the main thread is at."""
    flushing = threading.Thread(target=_flush, daemon=True)
    flushing.start()
    flushing.join(1.0)  # the main thread may hold the stream, and wait itself for whoever reads it
    if speaks:
        _tell_of(verdict.line)
    os._exit(verdict.code)


def _tell_of(line: str) -> None:
    os.write(2, f"{os.linesep * os.isatty(2)}error: {line}\n".encode())


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
