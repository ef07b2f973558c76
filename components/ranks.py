"""Which of the processes that train together this one is.

A network in training meets a share of a batch: every ``world``-th clip from ``rank`` on. What it draws or
averages over the batch is of the whole batch, so that the number of processes changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, distributed

_alone = 0


def rank() -> int:
    """This process's number, from 0; 0 inside :func:`alone`."""
    return distributed.get_rank() if world() > 1 else 0


def world() -> int:
    """How many processes share each batch; 1 inside :func:`alone`."""
    if _alone or not (distributed.is_available() and distributed.is_initialized()):
        return 1
    return distributed.get_world_size()


@contextmanager
def alone() -> Iterator[None]:
    """For what one process does by itself while others wait: batches inside are its own, not shares."""
    global _alone
    _alone += 1
    try:
        yield
    finally:
        _alone -= 1


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
    return draw(batch * world(), *shape, **options)[rank() :: world()]
