"""What every metric does: it looks at real and at generated videos, batch by batch, and gives figures."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, TypeAlias

import attrs
from torch import Tensor

from components.features.base import Features
from registry import METRICS

Side: TypeAlias = Literal["real", "generated"]
Layer: TypeAlias = Literal["pooled", "logits"]


@attrs.frozen(eq=False, kw_only=True)
class MetricBatch:
    """Some videos and what is known of them."""

    videos: Tensor
    """``(B, T, C, H, W)``, values in [-1, 1]."""
    numbers: Tensor
    """Which of the real or of the generated videos each one is, int64 ``(B,)``."""
    labels: Tensor | None = None
    """Class indices ``(B,)``."""
    low: Tensor | None = None
    """What generated videos were made of, x̂_l: ``(B, T_l, C_l, H_l, W_l)``."""
    viewed: Tensor | None = None
    """The view of the videos, shaped like ``low``."""
    features: Features | None = None
    """What a feature network makes of the videos."""


@attrs.frozen(kw_only=True)
class Figure:
    """One number that was measured."""

    name: str
    value: float
    interval: tuple[float, float] | None = None
    """Of 95% confidence."""
    label: int | None = None
    """The class that it is of; None is all videos."""
    detail: Mapping[str, Any] = attrs.field(factory=dict)
    """Plain data: what else was found."""


@METRICS.base
class Metric(ABC):
    """Sums up what it sees and makes figures of it.

    All that it remembers are sums: those of several ranks, each with some of the videos, are added up, and do not grow
    with the number of videos.
    """

    layer: ClassVar[Layer | None] = None
    """Which output of a feature network it compares; None needs no feature network."""
    sides: ClassVar[tuple[Side, ...]] = ("real", "generated")
    """The videos it looks at."""
    needs_low: ClassVar[bool] = False
    """Whether it compares generated videos with what they were made of."""
    per_class: bool = False
    """Whether there is a figure for each class beside that of all."""
    interval: ClassVar[str] = ""
    """How the intervals of its figures are taken, in words."""

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """The names of its figures, of all videos; where one name has several, ``NAME/FRAME``."""

    def names_in(self, frames: int) -> tuple[str, ...]:
        """Those of :attr:`names` that videos of ``frames`` frames have."""
        return self.names

    @property
    def min_frames(self) -> int:
        """The fewest frames that the videos may have."""
        return 1

    def least_videos(self, dim: int) -> int:
        """The fewest videos of a side that make a figure, where features have ``dim`` dimensions."""
        return 1

    def memory(self, dim: int, classes: int) -> int:
        """Bytes that its sums take where they are many; 0 where they do not matter.

        Args:
            dim: of the features that it compares.
            classes: that there are videos of.
        """
        return 0

    @abstractmethod
    def update(self, side: Side, batch: MetricBatch) -> None:
        """Look at some videos.

        Raises:
            InputError: they lack something that the metric needs.
        """

    @abstractmethod
    def sums(self) -> dict[str, Tensor]:
        """What is remembered, by name: float64 tensors that add up."""

    @abstractmethod
    def load_sums(self, sums: Mapping[str, Tensor]) -> None:
        """Remember ``sums`` instead: those of all ranks, added up by name."""

    @abstractmethod
    def figures(self) -> list[Figure]:
        """The figures of all that was looked at.

        Raises:
            InputError: it was too little.
        """
