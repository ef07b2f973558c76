"""Types for options and spec fields that say their allowed range, checked by the strict converter."""

from __future__ import annotations

from typing import Annotated

import attrs


@attrs.frozen
class Range:
    """The numbers ``low <= x <= high``; a bound that is None does not bind."""

    low: float | None = None
    high: float | None = None
    open_low: bool = False
    """With it the lower bound itself is not allowed: ``low < x``."""
    open_high: bool = False
    """With it the upper bound itself is not allowed: ``x < high``."""

    def __contains__(self, value: float) -> bool:
        if self.low is not None and (value < self.low or (self.open_low and value == self.low)):
            return False
        return self.high is None or value < self.high or (value == self.high and not self.open_high)

    def __str__(self) -> str:
        low = None if self.low is None else f"{'more than' if self.open_low else 'at least'} {self.low:g}"
        high = None if self.high is None else f"{'less than' if self.open_high else 'at most'} {self.high:g}"
        return " and ".join(filter(None, (low, high)))


Positive = Annotated[int, Range(1)]
"""A whole number of at least 1."""
NonNegative = Annotated[int, Range(0)]
"""A whole number of at least 0."""
PositiveFloat = Annotated[float, Range(0, open_low=True)]
"""A number above 0."""
AtLeastZero = Annotated[float, Range(0)]
"""A number of at least 0."""
Fraction = Annotated[float, Range(0, 1)]
"""A number from 0 to 1."""
ProperFraction = Annotated[float, Range(0, 1, open_high=True)]
"""A number from 0 to below 1."""
