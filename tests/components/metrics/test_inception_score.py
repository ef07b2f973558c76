"""The inception score on distributions whose score is known."""

import math

import pytest
import torch
from batches import added_up, of_features
from hypothesis import given
from hypothesis import strategies as st

from components.metrics import IS


def score(logits, **options):
    metric = IS(**options)
    metric.update("generated", of_features(logits=logits))
    return metric.figures()[0]


@given(st.integers(2, 12), st.integers(1, 4))
def test_sure_and_even_is_the_number_of_classes(classes, each):
    """A classifier that is sure of every video, and finds all classes equally often."""
    assert score(1000 * torch.eye(classes).repeat(each, 1)).value == pytest.approx(classes)


@given(st.integers(2, 12), st.integers(1, 20), st.integers(0, 2**31))
def test_all_alike_is_one(classes, count, seed):
    """Whatever it thinks of them: where it thinks the same of all."""
    logits = torch.randn(1, classes, generator=torch.Generator().manual_seed(seed)).expand(count, -1)
    assert score(logits).value == pytest.approx(1)


def test_by_hand():
    """Two videos, two classes, p = 0.9 and 0.2."""
    p = torch.tensor([[0.9, 0.1], [0.2, 0.8]])
    mean = [0.55, 0.45]
    divergence = sum(0.5 * q * math.log(q / mean[k]) for row in p.tolist() for k, q in enumerate(row))
    assert score(p.log()).value == pytest.approx(math.exp(divergence), rel=1e-6)


def test_ranks_add_up_and_classes_stand_alone():
    """Two ranks' sums are one pass's; a class's figure is that of its videos alone; the real score stands beside."""
    logits, labels = torch.randn(20, 5, generator=torch.Generator().manual_seed(0)), torch.arange(20) % 2
    ranks = [IS(2, per_class=True), IS(2, per_class=True)]
    for rank, metric in enumerate(ranks):
        part = slice(10 * rank, 10 * rank + 10)
        metric.update("generated", of_features(logits=logits[part], first=10 * rank, labels=labels[part]))
        metric.update("real", of_features(logits=1000 * torch.eye(5).repeat(2, 1), labels=labels[part]))
    figures = added_up(ranks).figures()
    whole = score(logits)
    assert figures[0].value == pytest.approx(whole.value)
    assert figures[0].interval == pytest.approx(whole.interval)
    assert figures[0].detail["real"] == pytest.approx(5)
    for label in (0, 1):
        assert figures[1 + label].value == pytest.approx(score(logits[labels == label]).value)
