"""The connections over which ranks watch each other: lines of JSON, an empty one being a sign of life."""

from __future__ import annotations

import json
import os
import secrets
import socket
import time
import weakref
from multiprocessing.connection import wait
from typing import Any

import attrs

from registry import InputError

_LONGEST = 1 << 16
"""Bytes that a line may have."""
_HERE = socket.gethostname()

_open: weakref.WeakSet[socket.socket] = weakref.WeakSet()


@attrs.frozen
class Address:
    """Where rank 0 listens, and what both sides know each other by."""

    who: str
    """Rank 0 for a person."""
    host: str
    names: tuple[str, ...]
    """By which its machine may be reached."""
    port: int
    secret: str = attrs.field(factory=secrets.token_hex, repr=False)
    """Shown by those who connect."""
    proof: str = attrs.field(factory=secrets.token_hex, repr=False)
    """Shown by rank 0: another machine may go by the same name."""


def describe(rank: int) -> str:
    """This process for a person: ``rank 1 (host node7, pid 4711)``."""
    return f"rank {rank} (host {_HERE}, pid {os.getpid()})"


def listen() -> tuple[socket.socket, Address]:
    """A socket that accepts connections from anywhere, and its address."""
    dual = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if dual else socket.AF_INET
    listener = kept(socket.create_server(("", 0), family=family, dualstack_ipv6=dual))
    listener.setblocking(False)
    # Launchers say where rank 0 is; that name may be reachable where the machine's own is not.
    names = dict.fromkeys(filter(None, (os.environ.get("MASTER_ADDR"), _HERE, socket.getfqdn())))
    return listener, Address(describe(0), _HERE, tuple(names), listener.getsockname()[1])


def kept(each: socket.socket) -> socket.socket:
    """A socket that forked children close: one held by a loader worker would outlive its process."""
    _open.add(each)
    return each


def _close_all() -> None:
    for each in list(_open):
        each.close()


os.register_at_fork(after_in_child=_close_all)


class Line:
    """One end of a connection.

    Args:
        connection: to the other end.
    """

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self.socket, self._rest = kept(connection), b""
        self.heard = time.monotonic()
        """When the other end gave its last sign of life."""
        self.closed = False
        """Whether the other end, or this one, is gone."""

    def send(self, **message: Any) -> None:
        """Send a message, or a sign of life; in vain where the other end does not take it."""
        if not self.closed:
            try:
                self.socket.sendall(json.dumps(message).encode() + b"\n" if message else b"\n")
            except BlockingIOError:
                return  # it has not read for very long, which its silence shows
            except OSError:
                return  # reading finds out that it is gone, after what it said last

    def read(self) -> list[dict[str, Any]]:
        """The messages that have come, without waiting.

        Raises:
            ValueError: what came is no message of ours.
        """
        while not self.closed:
            try:
                data = self.socket.recv(_LONGEST)
            except BlockingIOError:
                break
            except OSError:
                data = b""
            if not data:
                self.close()
                break
            self.heard = time.monotonic()
            self._rest += data
        *lines, self._rest = self._rest.split(b"\n")
        messages = [json.loads(line) for line in lines if line]
        if len(self._rest) > _LONGEST or not all(isinstance(message, dict) for message in messages):
            raise ValueError("not a message")
        return messages

    def close(self) -> None:
        """Let go of the connection."""
        self.closed = True
        self.socket.close()


def connect(address: Address, rank: int, patience: float) -> tuple[Line, bool]:
    """The connection of ``rank`` to rank 0, and whether it speaks for its machine's ranks if that one is lost.

    Args:
        address: of rank 0.
        rank: this process.
        patience: seconds that each attempt may take.

    Raises:
        InputError: rank 0 cannot be reached.
    """
    failed: dict[str, str] = {}
    for name in (("127.0.0.1",) if address.host == _HERE else ()) + address.names:
        try:
            line = Line(socket.create_connection((name, address.port), timeout=patience))
            line.send(secret=address.secret, rank=rank, who=describe(rank), host=_HERE)
            welcome = _first_message(line, patience)
        except (OSError, ValueError) as error:
            failed[name] = getattr(error, "strerror", None) or str(error)
            continue
        if welcome.get("proof") == address.proof:
            return line, bool(welcome["speaks"])
        line.close()
        failed[name] = "is not rank 0's machine"
    said = "; ".join(f"{name}: {why}" for name, why in failed.items())
    raise InputError.of("", f"{_HERE} cannot reach rank 0 on {address.host}, port {address.port} ({said})")


def _first_message(line: Line, patience: float) -> dict[str, Any]:
    deadline = time.monotonic() + patience
    while (left := deadline - time.monotonic()) > 0 and not line.closed:
        wait([line.socket], left)
        if messages := line.read():
            return messages[0]
    raise OSError("no answer")
