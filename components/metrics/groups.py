"""Sums kept in groups of videos, so that leaving each group out in turn tells how sure a figure is."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

GROUPS = 10
"""A video belongs to the group ``number % GROUPS``."""
JACKKNIFE = f"95% by Student's t, jackknife over {GROUPS} groups of videos (number modulo {GROUPS})"
_STUDENT = (12.706205, 4.302653, 3.182446, 2.776445, 2.570582, 2.446912, 2.364624, 2.306004, 2.262157)
"""97.5% quantiles of Student's t by degrees of freedom, 1 to 9: of few groups the normal's would promise too much."""


class GroupedSums:
    """Named sums over videos, float64 on the CPU, a row for each group."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}

    def add(self, name: str, values: Tensor, numbers: Tensor) -> None:
        """Add ``values``, ``(B, ...)``, a row per video, to the groups of the videos' numbers."""
        values = values.detach().to("cpu", torch.float64)
        rows = torch.zeros(GROUPS, *values.shape[1:], dtype=torch.float64)
        self.add_rows(name, rows.index_add_(0, numbers.cpu() % GROUPS, values))

    def add_rows(self, name: str, rows: Tensor) -> None:
        """Add what has been summed up group by group, ``(GROUPS, ...)``."""
        if name in self._sums:
            self._sums[name] += rows  # in place: they may be large
        else:
            self._sums[name] = rows

    def __contains__(self, name: str) -> bool:
        """Whether anything was added under that name."""
        return name in self._sums

    def __getitem__(self, name: str) -> Tensor:
        """The groups' sums ``(GROUPS, ...)``."""
        return self._sums[name]

    def state(self) -> dict[str, Tensor]:
        """All sums."""
        return dict(self._sums)

    def load(self, sums: Mapping[str, Tensor]) -> None:
        """Have these sums."""
        self._sums = {name: value.to(torch.float64) for name, value in sums.items()}

    def total(self, name: str, without: int | None = None) -> Tensor:
        """The sum over all groups, or over all but one."""
        rows = self._sums[name]
        return rows.sum(0) if without is None else rows.sum(0) - rows[without]


def jackknife(figure: Callable[[int | None], float], occupied: Tensor) -> tuple[float, tuple[float, float] | None]:
    """A figure and its interval of 95% confidence.

    With the figure θ and the figures θ_g when group g is left out, its variance is (G-1)/G Σ (θ_g - mean θ_g)², of G-1
    degrees of freedom.

    Args:
        figure: computes it with one group left out, or with all (None).
        occupied: which groups hold videos, bool ``(GROUPS,)``.

    Returns:
        tuple: the figure, and the interval; None where fewer than two groups hold videos.
    """
    value = figure(None)
    groups = torch.nonzero(occupied).flatten().tolist()
    if len(groups) < 2:
        return value, None
    others = torch.tensor([figure(group) for group in groups], dtype=torch.float64)
    variance = (len(groups) - 1) / len(groups) * float(((others - others.mean()) ** 2).sum())
    half = _STUDENT[len(groups) - 2] * math.sqrt(variance)
    return value, (value - half, value + half)
