"""What metrics of features share."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from components.metrics.base import Layer, MetricBatch
from registry import InputError


def chosen_features(batch: MetricBatch, layer: Layer | None, metric: str) -> Tensor:
    """The output ``layer`` of the batch's features, ``(B, D)``.

    Raises:
        InputError: there are no features, the network has no such output, or one is not finite.
    """
    if batch.features is None:
        raise InputError.of("features", f"{metric} compares features, and there is no feature network")
    chosen = batch.features.logits if layer == "logits" else batch.features.pooled
    if chosen is None:
        raise InputError.of("features", f"{metric} compares logits, which the feature network does not have")
    if not torch.isfinite(chosen).all():
        raise InputError.of("features", f"features for {metric} are not finite")
    return chosen


def classes_in(batch: MetricBatch) -> Iterator[tuple[int, Tensor]]:
    """Every class among the videos, and which of them are of it, bool ``(B,)``.

    Raises:
        InputError: the videos have no classes.
    """
    if batch.labels is None:
        raise InputError.of("per_class", "the videos have no classes")
    labels = batch.labels.cpu()
    for label in sorted(set(labels.tolist())):
        yield label, labels == label
