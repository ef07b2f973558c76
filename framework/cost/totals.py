"""What operations come to: FLOPs, bytes, and the time that a card needs for them at least."""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from framework.cost.cards import Card
from framework.cost.meter import Operation


@attrs.frozen
class Totals:
    """Of many operations."""

    flops: float = 0.0
    """Of matrix products and convolutions, a multiplication and an addition counting two."""
    bytes: float = 0.0
    """Read and written, each operand of each operation once."""
    seconds: float = 0.0
    """The sum of what each operation takes at least: as long as its FLOPs, or as its bytes, whichever is more."""

    def __add__(self, other: Totals) -> Totals:
        return Totals(self.flops + other.flops, self.bytes + other.bytes, self.seconds + other.seconds)

    def __mul__(self, times: float) -> Totals:
        return Totals(self.flops * times, self.bytes * times, self.seconds * times)


def totals(operations: Iterable[tuple[Operation, int]], card: Card) -> Totals:
    """Of ``operations``, each with how often it is done, on ``card``."""
    flops = moved = 0
    seconds = 0.0
    for operation, times in operations:
        flops += times * operation.flops
        moved += times * operation.bytes
        seconds += times * seconds_of(operation, card)
    return Totals(flops, moved, seconds)


def seconds_of(operation: Operation, card: Card) -> float:
    """The roofline (Williams et al., 2009) of one operation."""
    transfer = operation.bytes / card.bandwidth
    if not operation.flops or operation.dtype is None:
        return transfer
    return max(operation.flops / card.rate(operation.dtype, convolution=operation.convolution), transfer)
