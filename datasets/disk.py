"""Files that are whole or absent, and the lock that keeps two writers apart."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from registry import InputError

PAUSE = 0.2
"""Seconds between two looks at a lock that another process holds."""


class InUseError(InputError):
    """Another process is at work on the same store."""


def write_whole(path: Path, data: bytes) -> None:
    """Put ``data`` at ``path``, on the disk, all of it or none; a file that stood there is replaced."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.rename(path)
    except OSError as error:
        raise named(error, path) from None
    finally:
        partial.unlink(missing_ok=True)
    sync(path.parent)


def named(error: OSError, path: Path) -> OSError:
    """``error`` with the file it happened to: a full disk's does not say."""
    if error.filename is None:
        error.filename = str(path)
    return error


def sync(*folders: Path) -> None:
    """Bring the names in ``folders`` to the disk."""
    for folder in folders:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def locked(path: Path, *, shared: bool = False, patience: float = 0.0) -> Iterator[None]:
    """Hold the lock file ``path``; the last holder removes it.

    A killed process holds no lock: its file may stay, and is taken over.

    Args:
        path: the file; its folder is there.
        shared: hold it with others that share it.
        patience: seconds to wait for the others to be done.

    Raises:
        InUseError: another process holds it.
    """
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    deadline = time.monotonic() + patience
    while (descriptor := _take(path, kind)) is None:
        if time.monotonic() >= deadline:
            raise InUseError(InputError.of(str(path), "another process is writing this store").problems)
        time.sleep(PAUSE)
    try:
        yield
    finally:
        with contextlib.suppress(BlockingIOError):  # others share it still
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink(missing_ok=True)
        os.close(descriptor)


def _take(path: Path, kind: int) -> int | None:
    """A descriptor that holds the lock, None when another process does."""
    while True:
        # A file and not the folder itself: NFS locks only what is open for writing.
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(path.stat(), os.fstat(descriptor)):
                return descriptor
        os.close(descriptor)  # its holder has removed the file in the meantime
