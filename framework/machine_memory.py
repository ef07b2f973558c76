"""How much memory the processes of this machine may take together."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath


def machine_memory(root: Path = Path("/")) -> int:
    """Bytes of memory that this machine has, or that a control group of this process, or one around it, may take.

    Containers and Slurm's jobs are limited by such groups, which Linux tells of, of version 1 and 2.

    Args:
        root: of the file system in which the groups are looked for.
    """
    return min([os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), *_limits(root)])


def _limits(root: Path) -> Iterator[int]:
    for folder, own, name in _groups(root):
        # In a container that does not see where its group is, the group is mounted as the outermost.
        for group in (own, *own.parents):
            try:
                limit = (folder / group.relative_to("/") / name).read_text().strip()
            except (FileNotFoundError, NotADirectoryError, PermissionError):
                continue
            if limit != "max":
                yield int(limit)


def _groups(root: Path) -> Iterator[tuple[Path, PurePosixPath, str]]:
    """Of each kind that governs memory: where its groups are mounted, this process's own, the file of the limit."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except FileNotFoundError:  # no Linux
        return
    mounted = root / "sys/fs/cgroup"
    for line in lines:
        _, controllers, own = line.split(":", 2)
        if not controllers:
            yield mounted, PurePosixPath(own), "memory.max"
        elif "memory" in controllers.split(","):
            yield mounted / "memory", PurePosixPath(own), "memory.limit_in_bytes"
