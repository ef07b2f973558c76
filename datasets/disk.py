"""Files that are whole or absent, and the lock that keeps two writers apart."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
import uuid
from collections.abc import Container, Iterator
from pathlib import Path

from registry import InputError

PAUSE = 0.2
"""Seconds between two looks at a lock that another process holds."""


class InUseError(InputError):
    """Another process is at work on the same store."""


def write_whole(path: Path, data: bytes, aside: Path | None = None) -> None:
    """Put ``data`` at ``path``, on the disk, all of it or none; a file that stood there is replaced.

    A process that is killed may leave a part of it in the folder ``aside``, by default that of ``path``.
    """
    # Not the process's number, which another machine may have given as well.
    partial = (path.parent if aside is None else aside) / f".{path.name}.{uuid.uuid4().hex}"
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


def sync(*paths: Path) -> None:
    """Bring the names in folders, and the contents of files, to the disk."""
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Bring everything in ``folder`` to the disk, names and contents."""
    sync(folder, *folder.rglob("*"))


def keep_only(folder: Path, names: Container[str]) -> None:
    """Remove every file of ``folder`` whose path in it is none of ``names``, and every empty folder."""
    for here, folders, files in os.walk(folder, topdown=False):
        place = Path(here)
        for file in files:
            if str((place / file).relative_to(folder)) not in names:
                (place / file).unlink()
        for name in folders:
            if not any((place / name).iterdir()):
                (place / name).rmdir()


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
