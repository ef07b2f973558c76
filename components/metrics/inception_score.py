"""The inception score of videos."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from components.metrics.base import Figure, Layer, Metric, MetricBatch, Side
from components.metrics.groups import JACKKNIFE, GroupedSums, jackknife
from components.metrics.of_features import chosen_features, classes_in
from registry import METRICS


@METRICS.register
class IS(Metric):
    """Inception score: ``exp(E KL(p(y|x) || p(y)))`` (Salimans et al., 2016), of a classifier's logits.

    1 where all videos look alike to the classifier, the number of classes where it is sure of each and finds all
    equally often. The figure is that of the generated videos; the real ones' stands in its detail. Of all videos at
    once, not the mean over splits.

    Args:
        classes: number of classes.
        per_class: a figure for each class beside that of all (appendix G): of the videos of that class alone.
    """

    layer: ClassVar[Layer | None] = "logits"
    interval = JACKKNIFE

    def __init__(self, classes: int | None = None, *, per_class: bool = False) -> None:
        self.classes, self.per_class = classes, per_class
        self._sums = GroupedSums()

    @property
    def names(self) -> tuple[str, ...]:
        """One."""
        return ("is",)

    def update(self, side: Side, batch: MetricBatch) -> None:
        """Add the videos' probabilities and entropies; see :meth:`Metric.update`."""
        logits = chosen_features(batch, self.layer, "IS").detach().to("cpu", torch.float64)
        log_p = torch.log_softmax(logits, dim=1)
        p = log_p.exp()
        self._add(side, p, (p * log_p).sum(1), batch.numbers)
        if self.per_class:
            for label, chosen in classes_in(batch):
                self._add(f"{side}/{label}", p[chosen], (p * log_p).sum(1)[chosen], batch.numbers[chosen])

    def _add(self, key: str, p: Tensor, negative_entropy: Tensor, numbers: Tensor) -> None:
        self._sums.add(f"{key}/count", torch.ones(len(p)), numbers)
        self._sums.add(f"{key}/p", p, numbers)
        self._sums.add(f"{key}/p_log_p", negative_entropy, numbers)

    def sums(self) -> dict[str, Tensor]:
        """Counts, sums of probabilities and of Σ p log p, of each side and group."""
        return self._sums.state()

    def load_sums(self, sums: Mapping[str, Tensor]) -> None:
        """See :meth:`Metric.load_sums`."""
        self._sums.load(sums)

    def figures(self) -> list[Figure]:
        """The score of all generated videos, and of each class that there are videos of, where asked for."""
        labels = [None, *range(self.classes or 0)] if self.per_class else [None]
        return [self._figure(label) for label in labels if self._key("generated", label) + "/count" in self._sums]

    @staticmethod
    def _key(side: Side, label: int | None) -> str:
        return side if label is None else f"{side}/{label}"

    def _figure(self, label: int | None) -> Figure:
        key, real = self._key("generated", label), self._key("real", label)
        value, interval = jackknife(lambda without: self._score(key, without), self._sums[f"{key}/count"] > 0)
        detail = {"real": self._score(real, None)} if f"{real}/count" in self._sums else {}
        return Figure(name="is", value=value, interval=interval, label=label, detail=detail)

    def _score(self, key: str, without: int | None) -> float:
        count = self._sums.total(f"{key}/count", without)
        p = self._sums.total(f"{key}/p", without) / count
        divergence = self._sums.total(f"{key}/p_log_p", without) / count - torch.special.xlogy(p, p).sum()
        return math.exp(max(0.0, float(divergence)))
