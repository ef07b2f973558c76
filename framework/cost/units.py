"""Units by the size of what is told, so that small specs do not cost 0.00 of everything."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import attrs

SMALLEST = 0.005
"""What is less would be written as 0.00."""


@attrs.frozen
class Unit:
    """A unit: its name, and how many of the base unit it is."""

    name: str
    size: float

    def show(self, value: float) -> str:
        """A figure in base units, written in this one with two decimals; nothing where it is 0."""
        if not value:
            return ""
        scaled = value / self.size
        return f"{scaled:.2f}" if scaled >= SMALLEST else "<0.01"


MEMORY = (Unit("GB", 1e9), Unit("MB", 1e6), Unit("kB", 1e3))
"""Of bytes."""
WORK = (Unit("TFLOP", 1e12), Unit("GFLOP", 1e9), Unit("MFLOP", 1e6))
"""Of FLOPs."""
STEP = (Unit("s", 1.0), Unit("ms", 1e-3), Unit("µs", 1e-6))
"""Of seconds, for a step."""
TRAINING = (Unit("days", 24 * 3600), Unit("hours", 3600), Unit("minutes", 60), Unit("s", 1.0))
"""Of seconds, for all steps."""
COUNT = (Unit("millions", 1e6), Unit("thousands", 1e3))
"""Of parameters, or of iterations."""


def unit_of(units: Sequence[Unit], values: Iterable[float]) -> Unit:
    """The largest unit of which the largest of the figures is at least one, else the smallest: one for all of them."""
    largest = max(values, default=0.0)
    return next((unit for unit in units if unit.size <= largest), units[-1])


def unit_of_least(units: Sequence[Unit], values: Iterable[float]) -> Unit:
    """The same by the least figure above 0, or a larger one in which none has more than four digits in front."""
    above = [value for value in values if value]
    short = [unit for unit in units if max(above, default=0.0) < 9999.995 * unit.size] or units[:1]
    return unit_of(short, [min(above, default=0.0)])
