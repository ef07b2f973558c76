"""Fréchet distances between the features of real and of generated videos."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from components.metrics.base import Figure, Layer, Metric, MetricBatch, Side
from components.metrics.groups import GROUPS, JACKKNIFE, GroupedSums, jackknife
from components.metrics.of_features import chosen_features, classes_in
from registry import METRICS, InputError


def frechet_distance(mean: Tensor, covariance: Tensor, other_mean: Tensor, other_covariance: Tensor) -> Tensor:
    """The squared 2-Wasserstein distance between two Gaussians (Dowson and Landau, 1982).

    ``|m1 - m2|² + Tr(C1 + C2 - 2 (C1 C2)^(1/2))``. Where ``Ci = Ri Ri'``, the eigenvalues of C1 C2 are the squares of
    the singular values of ``R1' R2``: so there are no complex parts to drop, no root is taken of what rounding leaves
    of a zero, and covariances of any rank have a distance.

    Args:
        mean: ``(D,)``, float64.
        covariance: ``(D, D)``, symmetric and positive semidefinite.
        other_mean: ``(D,)``.
        other_covariance: ``(D, D)``.

    Returns:
        Tensor: scalar, at least 0.
    """
    mixed = torch.linalg.svdvals(_root(covariance).mT @ _root(other_covariance)).sum()
    traces = covariance.trace() + other_covariance.trace()
    distance: Tensor = (mean - other_mean).square().sum() + traces - 2 * mixed
    return distance.clamp(min=0)


def _root(covariance: Tensor) -> Tensor:
    """R of a covariance ``R R'``, ``(D, rank)``: without the eigenvalues that are zero to rounding."""
    values, vectors = torch.linalg.eigh(covariance)
    least = values[-1].clamp(min=0) * len(values) * torch.finfo(values.dtype).eps
    kept = values > least
    root: Tensor = vectors[:, kept] * values[kept].sqrt()
    return root


class FrechetDistance(Metric):
    """Fréchet distance of one output of a feature network.

    Means and covariances come of sums in float64, so memory does not grow with the number of videos. At least one video
    more than features have dimensions is needed on each side; below, the covariance would be singular and the distance
    one of too few videos.

    Args:
        classes: number of classes.
        per_class: a figure for each class beside that of all (appendix G).
    """

    name: ClassVar[str]
    interval = JACKKNIFE

    def __init__(self, classes: int | None = None, *, per_class: bool = False) -> None:
        self.classes, self.per_class = classes, per_class
        self._sums = GroupedSums()

    @property
    def names(self) -> tuple[str, ...]:
        """One."""
        return (self.name,)

    def least_videos(self, dim: int) -> int:
        """One more than dimensions."""
        return dim + 1

    def memory(self, dim: int, classes: int) -> int:
        """Of either side, all videos and with ``per_class`` each class: a matrix of float64 for each group."""
        kinds = 1 + (classes if self.per_class else 0)
        return len(self.sides) * kinds * GROUPS * dim**2 * torch.float64.itemsize

    def update(self, side: Side, batch: MetricBatch) -> None:
        """Add the videos' features to the moments; see :meth:`Metric.update`."""
        features = chosen_features(batch, self.layer, type(self).__name__).detach().to("cpu", torch.float64)
        self._add(side, features, batch.numbers)
        if self.per_class:
            for label, chosen in classes_in(batch):
                self._add(f"{side}/{label}", features[chosen], batch.numbers[chosen])

    def _add(self, key: str, features: Tensor, numbers: Tensor) -> None:
        self._sums.add(f"{key}/count", torch.ones(len(features)), numbers)
        self._sums.add(f"{key}/sum", features, numbers)
        # Group by group: the outer products of a batch's videos one by one would be large.
        outer = torch.zeros(GROUPS, features.shape[1], features.shape[1], dtype=torch.float64)
        groups = numbers.cpu() % GROUPS
        for group in set(groups.tolist()):
            own = features[groups == group]
            outer[group] = own.mT @ own
        self._sums.add_rows(f"{key}/outer", outer)

    def sums(self) -> dict[str, Tensor]:
        """Counts, sums and sums of outer products of each side and group."""
        return self._sums.state()

    def load_sums(self, sums: Mapping[str, Tensor]) -> None:
        """See :meth:`Metric.load_sums`."""
        self._sums.load(sums)

    def figures(self) -> list[Figure]:
        """The distance of all videos, and of each class that there are videos of, where asked for.

        Raises:
            InputError: there are too few videos for the dimension.
        """
        labels = [None, *range(self.classes or 0)] if self.per_class else [None]
        there = [label for label in labels if label is None or f"real/{label}/count" in self._sums]
        return [self._figure(label) for label in there]

    def _figure(self, label: int | None) -> Figure:
        suffix = "" if label is None else f"/{label}"
        for side in self.sides:
            self._refuse_few(side + suffix)

        def distance(without: int | None) -> float:
            real, generated = (self._moments(side + suffix, without) for side in self.sides)
            return float(frechet_distance(*real, *generated))

        occupied = self._sums[f"real{suffix}/count"] + self._sums[f"generated{suffix}/count"] > 0
        value, interval = jackknife(distance, occupied)
        return Figure(name=self.name, value=value, interval=interval, label=label)

    def _refuse_few(self, key: str) -> None:
        count = int(self._sums.total(f"{key}/count")) if f"{key}/count" in self._sums else 0
        dim = self._sums[f"{key}/sum"].shape[1] if count else 0
        if count < self.least_videos(dim):
            raise InputError.of(
                self.name,
                f"{count} {key.replace('/', ' videos of class ')}{'' if '/' in key else ' videos'} are too few for "
                f"features of {dim} dimensions",
                f"at least {self.least_videos(dim)}",
            )

    def _moments(self, key: str, without: int | None) -> tuple[Tensor, Tensor]:
        count = self._sums.total(f"{key}/count", without)
        mean = self._sums.total(f"{key}/sum", without) / count
        scatter = self._sums.total(f"{key}/outer", without) - count * torch.outer(mean, mean)
        return mean, scatter / (count - 1).clamp(min=1)


@METRICS.register
class FVD(FrechetDistance):
    """Fréchet video distance: of the logits (Unterthiner et al., 2018; section 5 with an I3D of Kinetics-400)."""

    name = "fvd"
    layer: ClassVar[Layer | None] = "logits"


@METRICS.register
class FID(FrechetDistance):
    """Fréchet inception distance: of the last activations (section 5 with an I3D of Kinetics-600)."""

    name = "fid"
    layer: ClassVar[Layer | None] = "pooled"
