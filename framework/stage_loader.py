"""Batches from worker processes, in memory that is used over and over.

A loader of torch's makes new shared memory for every batch, which costs several times what reading the
frames does. Here the workers read straight into slots of shared memory that are made once. A slot is
written to again when nothing refers to its frames any more; while too many are held, batches travel
torch's way.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from datasets import Frames
from framework.stopping import shield_worker, workers_start

PREFETCH = 2
"""Batches that each worker is ahead."""


class Samples(Protocol):
    """What a loader reads from."""

    shape: tuple[int, int, int, int]
    """Of each sample's frames: ``(T, H, W, C)``."""

    def read(self, position: int, out: Frames) -> int:
        """Write the frames at ``position`` into ``out`` and return their label."""


class Positions(Protocol):
    """The positions of each batch, in order."""

    size: int
    """Samples of a batch."""
    per_iteration: int
    """Batches that are in use together."""

    def __iter__(self) -> Iterator[list[int]]:
        """Every batch."""

    def __len__(self) -> int:
        """Number of batches."""


class StageLoader(DataLoader[dict[str, Any]]):
    """Batches ``frames``, uint8 ``(B, T, H, W, C)``, and ``label``, int64 ``(B,)``, in their order.

    Args:
        samples: sent to the workers.
        batches: the positions of each batch.
        workers: number of processes; with 0 the batches are read when they are asked for.
        start: how workers start, ``"fork"`` or ``"spawn"``; None is the system's way.
    """

    def __init__(self, samples: Samples, batches: Positions, workers: int, start: str | None = None) -> None:
        self._whole, self._slotted = _Batches(samples), _SlottedPositions(batches)
        # While a batch is made, those of this iteration and of the last are held.
        self._pool_shape = (workers * PREFETCH + 2 * batches.per_iteration, batches.size, *samples.shape)
        super().__init__(
            self._whole,
            batch_sampler=self._slotted,  # type: ignore[arg-type]  # torch's types know lists alone
            num_workers=workers,
            collate_fn=_as_it_is,
            prefetch_factor=PREFETCH if workers else None,
            multiprocessing_context=start,
            worker_init_fn=shield_worker if workers else None,
        )

    def __iter__(self) -> Iterator[dict[str, Any]]:  # type: ignore[override]  # torch names its own iterator
        """Every batch, from the first one on. Frames stay as they are for as long as they are referred to."""
        shape = self._pool_shape if self.num_workers else (0,)
        pool: Tensor = torch.empty(shape, dtype=torch.uint8).share_memory_()  # type: ignore[no-untyped-call]
        slots = _Slots(pool)
        self._whole.pool, self._slotted.slots = pool, slots
        with workers_start():
            batches = super().__iter__()
        for slot, frames, labels in batches:
            # Labels come as numbers: a tensor would bring shared memory of its own.
            yield {"frames": _pinned(frames if slot is None else slots.lend(slot)), "label": torch.tensor(labels)}


class _Batches(Dataset[Any]):
    """Reads whole batches, in the workers."""

    def __init__(self, samples: Samples) -> None:
        self._samples = samples
        self.pool: Tensor | None = None

    def __getitems__(self, batch: tuple[int | None, Sequence[int]]) -> tuple[int | None, Tensor | None, list[int]]:
        """The slot that the frames of a batch are in, or the frames when there is none; and the labels."""
        slot, positions = batch
        if slot is None or self.pool is None:
            frames = torch.empty((len(positions), *self._samples.shape), dtype=torch.uint8)
        else:
            frames = self.pool[slot]
        into = frames.numpy()
        labels = [self._samples.read(position, into[place]) for place, position in enumerate(positions)]
        return slot, frames if slot is None else None, labels


class _Slots:
    """Which parts of ``pool``, ``(slots, B, T, H, W, C)``, are free."""

    def __init__(self, pool: Tensor) -> None:
        self._pool = pool
        self._free = list(range(len(pool)))

    def take(self) -> int | None:
        """A free slot, if there is one: the one freed last, which is the likeliest to be in a cache."""
        return self._free.pop() if self._free else None

    def lend(self, slot: int) -> Tensor:
        """The frames in ``slot``, which is free again once the last tensor that shares their memory is gone."""
        frames = self._pool[slot].numpy()
        weakref.finalize(frames, self._free.append, slot).atexit = False
        return torch.from_numpy(frames)


class _SlottedPositions:
    """The positions of each batch, and the slot for its frames, if one is free when it is asked for."""

    def __init__(self, batches: Positions) -> None:
        self._batches = batches
        self.slots: _Slots | None = None

    def __iter__(self) -> Iterator[tuple[int | None, list[int]]]:
        slots = self.slots
        return ((slots.take() if slots else None, positions) for positions in self._batches)

    def __len__(self) -> int:
        return len(self._batches)


def _as_it_is(batch: Any) -> Any:
    return batch


def _pinned(frames: Tensor) -> Tensor:
    """``frames`` where a GPU copies them from while other work goes on, if there is one."""
    return frames.pin_memory() if torch.cuda.is_available() else frames
