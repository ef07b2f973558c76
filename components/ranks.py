"""Which of the processes that train together this one is.

A network in training meets a share of a batch: every ``world``-th clip from ``rank`` on. What it draws or
averages over the batch is of the whole batch, so that the number of processes changes nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, distributed

_alone = 0
_among: tuple[int, int] | None = None
"""Which clip of how many, in this process's share, the first of a batch is; None where a batch is the share."""


def rank() -> int:
    """This process's number, from 0; 0 inside :func:`alone`."""
    return distributed.get_rank() if world() > 1 else 0


def world() -> int:
    """How many processes share each batch; 1 inside :func:`alone`."""
    if _alone or not (distributed.is_available() and distributed.is_initialized()):
        return 1
    return distributed.get_world_size()


def local_world() -> int:
    """How many of them are on this machine, as ``torchrun`` says; all where nothing does; 1 inside :func:`alone`."""
    return min(world(), int(os.environ.get("LOCAL_WORLD_SIZE", world())))


@contextmanager
def alone() -> Iterator[None]:
    """For what one process does by itself while others wait: batches inside are its own, not shares."""
    global _alone
    _alone += 1
    try:
        yield
    finally:
        _alone -= 1


@contextmanager
def among(first: int, clips: int) -> Iterator[None]:
    """For a batch that is a part of this process's share of ``clips`` clips, from its ``first`` on.

    :func:`per_clip` draws for the whole share inside and gives the part its own: where the parts of a share begin
    with torch's generators in one state, they get what the share would have got as one batch.
    """
    global _among
    before, _among = _among, (first, clips)
    try:
        yield
    finally:
        _among = before


def per_clip(draw: Callable[..., Tensor], batch: int, *shape: int, **options: Any) -> Tensor:
    """Random numbers ``(batch, *shape)`` for the clips of this process's share.

    They are drawn for the whole batch, so that which clip gets which does not depend on the number of processes,
    given generators that stand at the same place in all of them.

    Args:
        draw: ``torch.randn`` or ``torch.rand``.
        batch: clips in the share.
        shape: of what each clip gets.
        options: of ``draw``.
    """
    first, clips = _among or (0, batch)
    return draw(clips * world(), *shape, **options)[rank() :: world()][first : first + batch]
