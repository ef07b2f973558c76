"""Batches for the tests of metrics, and what several ranks make of them."""

import copy

import torch

from components.features import Features
from components.metrics import MetricBatch

NO_VIDEOS = (2, 1, 1, 1)


def of_features(pooled=None, logits=None, first=0, labels=None) -> MetricBatch:
    """Videos of which the features alone matter."""
    count = len(pooled if pooled is not None else logits)
    return MetricBatch(
        videos=torch.zeros(count, *NO_VIDEOS),
        numbers=torch.arange(first, first + count),
        labels=labels,
        features=Features(pooled if pooled is not None else logits, logits),
    )


def of_videos(videos, first=0, **more) -> MetricBatch:
    """Videos numbered from ``first`` on."""
    return MetricBatch(videos=videos, numbers=torch.arange(first, first + len(videos)), **more)


def added_up(metrics):
    """A metric with the sums of several ranks, added by name."""
    total = {}
    for metric in metrics:
        for name, value in metric.sums().items():
            total[name] = total[name] + value if name in total else value
    merged = copy.deepcopy(metrics[0])
    merged.load_sums(total)
    return merged
