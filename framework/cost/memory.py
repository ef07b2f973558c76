"""Peak memory of a step, by what it is held for, at any number of clips."""

from __future__ import annotations

import attrs
import numpy as np

from framework.cost.tracker import CATEGORIES
from framework.cost.updates import Updates

PARTS = ("weights", "sources", "buffers", "gradients", "optimizer", "activations", "temporaries", "other")
"""Weights of what is trained, and of the frozen sources; statistics and singular vectors; gradients of weights; Adam's
states; what forward passes make (videos and the normalised weights among it), kept for backward passes or not; what
backward passes and Adam make on their way; an average of weights."""

_INDEX = {name: place for place, name in enumerate(CATEGORIES)}


@attrs.frozen
class Memory:
    """Memory at the instant of an iteration when most of it is held."""

    update: str
    """Whose instant it is: ``"D"`` or ``"G"``, or :data:`~framework.cost.updates.DRAWN_ONCE`."""
    stretch: str
    """What was being computed, one of :data:`~framework.cost.updates.PARTS`."""
    bytes: dict[str, int]
    """By :data:`PARTS`."""

    @property
    def total(self) -> int:
        """All of it."""
        return sum(self.bytes.values())


class MemoryLaw:
    """Peak memory of a step as a function of the clips that go through the networks at once.

    The same operations are done for any number of clips, and each tensor's size is linear in it. So what is held at
    each instant is known for all numbers from two of them, exactly, and the peak is the largest of the instants'.

    Args:
        first: updates counted at some number of clips.
        second: the same at another, in as many parts.

    Raises:
        ValueError: they are not made of the same operations.
    """

    def __init__(self, first: Updates, second: Updates) -> None:
        alike = len(first.operations) == len(second.operations) and all(
            (a.phase, a.part, a.turn) == (b.phase, b.part, b.turn)
            for a, b in zip(first.operations, second.operations, strict=True)
        )
        if not alike:
            raise ValueError("the updates are not made of the same operations")
        self._updates = first
        self._clips = first.clips // first.parts
        self._held = _matrix(first)
        self._slope = (_matrix(second) - self._held) / (second.clips // second.parts - self._clips)

    def at(self, clips: int) -> Memory:
        """The peak with ``clips`` clips at once."""
        return _peak(self._updates, self._held + self._slope * (clips - self._clips))

    def most_clips(self, capacity: float) -> int:
        """The most clips at once whose peak is at most ``capacity`` bytes; 0 if there is none."""
        totals, slopes = self._held.sum(1), self._slope.sum(1)
        constant = totals - slopes * self._clips
        if constant.max() > capacity:
            return 0
        growing = slopes > 0
        return int(np.floor(((capacity - constant[growing]) / slopes[growing]).min()))


def peak_of(updates: Updates) -> Memory:
    """The peak of ``updates`` as they were counted."""
    return _peak(updates, _matrix(updates))


def _peak(updates: Updates, held: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> Memory:
    instant = int(held.sum(1).argmax())
    operation = updates.operations[instant]
    sizes = {name: round(size) for name, size in zip(PARTS, held[instant], strict=True)}
    return Memory(operation.phase, operation.part, sizes)


def _matrix(updates: Updates) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Bytes by instant and :data:`PARTS`."""
    tracked = np.array([operation.held for operation in updates.operations], dtype=np.float64)
    column = {name: tracked[:, place] for name, place in _INDEX.items()}
    state = np.minimum(column["Optstate"], updates.states)
    gradients = column["Gradient"]
    if updates.gpus > 1:  # the buckets that gradients are reduced in stay, and are the gradients
        gradients = np.full_like(gradients, updates.weights)
    weights = np.full_like(gradients, updates.weights)
    return np.stack(
        [
            weights,
            column["Parameter"] - weights,
            column["Buffer"],
            gradients,
            state,
            column["Activation"],
            column["Temp"] + column["Optstate"] - state,
            column["Other"],
        ],
        axis=1,
    )
