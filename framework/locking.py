"""One process at a time: for files that several might write."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from registry import InputError


@contextmanager
def locked(path: Path, *, wait: bool) -> Iterator[None]:
    """While entered, no other process is in here for the same ``path``; a file beside, ``.lock``, says so.

    Args:
        path: what is written; its folder exists.
        wait: for a process that is in here, however long it takes.

    Raises:
        InputError: another process is in here, and this one is not to wait.
    """
    beside = path.with_name(path.name + ".lock")
    file = _taken(beside, path, wait=wait)
    try:
        yield
    finally:
        beside.unlink(missing_ok=True)  # before it is let go: who waits for it finds that it is gone, and makes another
        file.close()


def _taken(beside: Path, path: Path, *, wait: bool) -> TextIO:
    while True:
        file = beside.open("a")
        try:
            # Not flock: that would be inherited by child processes.
            fcntl.lockf(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except (BlockingIOError, PermissionError):  # it depends on the system which
            file.close()
            raise InputError.of(str(path), "another process is writing it", "another --out, or later") from None
        if beside.exists() and os.path.samestat(os.fstat(file.fileno()), beside.stat()):
            return file
        file.close()
