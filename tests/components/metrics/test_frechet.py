"""Fréchet distances against the closed form and an independent square root, and what is refused."""

import math

import numpy as np
import pytest
import torch
from batches import added_up, of_features
from hypothesis import given, settings
from hypothesis import strategies as st

from components.metrics import FID, FVD, frechet_distance
from registry import InputError


def by_newton(mean, cov, other_mean, other_cov):
    """The distance with the product's square root by Denman and Beavers' iteration, in numpy and extended precision."""
    y, z = (cov @ other_cov).astype(np.longdouble), np.eye(len(cov), dtype=np.longdouble)
    for _ in range(60):
        inverse_z, inverse_y = np.linalg.inv(z.astype(float)), np.linalg.inv(y.astype(float))
        y, z = (y + inverse_z) / 2, (z + inverse_y) / 2
    return float(((mean - other_mean) ** 2).sum() + np.trace(cov + other_cov - 2 * y))


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 8), st.integers(0, 2**31))
def test_diagonal_gaussians(dim, seed):
    """Of Gaussians with diagonal covariances the distance is |m1-m2|² + Σ (σ1-σ2)²."""
    random = np.random.default_rng(seed)
    mean, other, sigma, other_sigma = random.normal(size=(4, dim))
    expected = ((mean - other) ** 2).sum() + ((abs(sigma) - abs(other_sigma)) ** 2).sum()
    turn = np.linalg.qr(random.normal(size=(dim, dim)))[0]  # whichever way they are turned
    covs = [torch.from_numpy(turn @ np.diag(s**2) @ turn.T) for s in (sigma, other_sigma)]
    found = frechet_distance(torch.from_numpy(mean), covs[0], torch.from_numpy(other), covs[1])
    assert float(found) == pytest.approx(expected, rel=1e-7, abs=1e-7)


@settings(deadline=None, max_examples=20)
@given(st.integers(2, 6), st.integers(0, 2**31))
def test_against_another_square_root(dim, seed):
    """Of covariances of any kind the trace of the root is that of Newton's iteration."""
    random = np.random.default_rng(seed)
    sides = [random.normal(size=(3 * dim, dim)) @ random.normal(size=(dim, dim)) for _ in range(2)]
    means, covs = [x.mean(0) for x in sides], [np.cov(x.T) + 0.1 * np.eye(dim) for x in sides]
    expected = by_newton(means[0], covs[0], means[1], covs[1])
    found = frechet_distance(*map(torch.from_numpy, (means[0], covs[0], means[1], covs[1])))
    assert float(found) == pytest.approx(expected, rel=1e-6)


def test_covariances_without_full_rank():
    """Two Gaussians on lines in space: |v|² + |w|² - 2 |v·w|, where no inverse exists."""
    v, w = torch.tensor([1.0, 2, 0]).double(), torch.tensor([0, 3.0, 1]).double()
    zero = torch.zeros(3).double()
    found = float(frechet_distance(zero, torch.outer(v, v), zero, torch.outer(w, w)))
    assert found == pytest.approx(5 + 10 - 2 * 6, abs=1e-7)
    assert float(frechet_distance(zero, torch.zeros(3, 3).double(), v, torch.outer(w, w))) == pytest.approx(5 + 10)


@pytest.mark.parametrize("count", [30, 81])
def test_features_of_low_rank_to_the_last_digits(count):
    """Of A'A and B'B the trace of the root is the sum of the singular values of AB', which takes no small roots."""
    random = np.random.default_rng(0)
    basis = random.normal(size=(80, 80)) * np.logspace(3, 0, 80)[:, None]
    sides = [random.normal(size=(count, 80)) @ basis for _ in range(2)]
    means, covs = [x.mean(0) for x in sides], [np.cov(x.T) for x in sides]
    one, other = ((x - x.mean(0)) / np.sqrt(count - 1) for x in sides)
    mixed = np.linalg.svd(one @ other.T, compute_uv=False).sum()
    expected = ((means[0] - means[1]) ** 2).sum() + np.trace(covs[0] + covs[1]) - 2 * mixed
    found = frechet_distance(*map(torch.from_numpy, (means[0], covs[0], means[1], covs[1])))
    assert float(found) == pytest.approx(expected, rel=1e-10)
    assert float(frechet_distance(*map(torch.from_numpy, (means[0], covs[0]) * 2))) < 1e-10 * np.trace(covs[0])


def measured(real, generated, batch=7, kind=FID):
    metric = kind()
    for side, features in (("real", real), ("generated", generated)):
        for first in range(0, len(features), batch):
            part = features[first : first + batch]
            metric.update(side, of_features(part, part, first))
    return metric


def test_a_metric_is_the_distance_of_the_samples_gaussians():
    """Batch by batch, mean and unbiased covariance are numpy's; large means cost no digits that matter."""
    random = np.random.default_rng(0)
    real, generated = random.normal(100, 1, (60, 4)), random.normal(100.5, 2, (45, 4))
    expected = by_newton(real.mean(0), np.cov(real.T), generated.mean(0), np.cov(generated.T))
    [figure] = measured(torch.from_numpy(real), torch.from_numpy(generated)).figures()
    assert figure.value == pytest.approx(expected, rel=1e-6)
    assert figure.name == "fid"
    low, high = figure.interval
    assert low < figure.value < high


def test_identical_sets_are_at_distance_zero():
    """To rounding; and in any order."""
    features = torch.randn(40, 6, generator=torch.Generator().manual_seed(0))
    [figure] = measured(features, features.flip(0)).figures()
    assert figure.value == pytest.approx(0, abs=1e-6)


@settings(deadline=None, max_examples=10)
@given(st.lists(st.integers(0, 2), min_size=24, max_size=24), st.integers(1, 9))
def test_ranks_add_up(owners, batch):
    """However the videos are shared by three ranks, in batches of any size, the figures are those of one pass."""
    random = torch.Generator().manual_seed(1)
    real, generated = torch.randn(24, 3, generator=random), torch.randn(24, 3, generator=random) + 0.3
    ranks = [FID(), FID(), FID()]
    for number, owner in enumerate(owners):
        for side, features in (("real", real), ("generated", generated)):
            ranks[owner].update(side, of_features(features[number : number + 1], first=number))
    [one], [other] = (
        added_up([rank for rank in ranks if rank.sums()]).figures(),
        measured(real, generated, batch).figures(),
    )
    assert one.value == pytest.approx(other.value, rel=1e-9)
    assert one.interval == pytest.approx(other.interval, rel=1e-6)


def test_intervals_hold_the_truth():
    """Of 40 experiments the interval holds a distance that is far larger than its bias about as often as it says."""
    random = torch.Generator().manual_seed(0)
    held = 0
    for _ in range(40):
        real = torch.randn(200, 2, generator=random)
        generated = torch.randn(200, 2, generator=random) + torch.tensor([2.0, 0])
        low, high = measured(real, generated, 100).figures()[0].interval
        held += low < 4 < high
    assert 32 <= held <= 40


def test_memory_does_not_grow():
    """The sums of ten thousand videos have the shapes of those of a hundred."""
    shapes = [
        {name: value.shape for name, value in measured(torch.randn(n, 3), torch.randn(n, 3), 500).sums().items()}
        for n in (100, 10_000)
    ]
    assert shapes[0] == shapes[1]


def test_too_few_videos_are_refused():
    """As many videos as dimensions make no covariance; the error counts both."""
    with pytest.raises(
        InputError, match=r"^fid: 4 generated videos are too few for features of 4 dimensions; .*at least 5"
    ):
        measured(torch.randn(9, 4), torch.randn(4, 4)).figures()
    assert math.isfinite(measured(torch.randn(9, 4), torch.randn(5, 4)).figures()[0].value)


def test_per_class():
    """Each class's figure is that of its videos alone."""
    random = torch.Generator().manual_seed(0)
    labels = torch.arange(30) % 2
    real, generated = torch.randn(30, 2, generator=random), torch.randn(30, 2, generator=random)
    metric = FID(3, per_class=True)  # of the third class there is none, and no figure
    metric.update("real", of_features(real, labels=labels))
    metric.update("generated", of_features(generated, labels=labels))
    figures = metric.figures()
    assert [figure.label for figure in figures] == [None, 0, 1]
    for label in (0, 1):
        alone = measured(real[labels == label], generated[labels == label]).figures()[0]
        assert figures[1 + label].value == pytest.approx(alone.value, rel=1e-9)
    with pytest.raises(InputError, match="per_class: the videos have no classes"):
        FID(2, per_class=True).update("real", of_features(real))


def test_layers():
    """FVD takes logits, FID the last activations; without logits, or with none that are finite, it is refused."""
    logits, pooled = torch.randn(8, 2), torch.randn(8, 3)
    for kind, chosen in ((FVD, logits), (FID, pooled)):
        metric = kind()
        metric.update("real", of_features(pooled, logits))
        assert metric.sums()["real/sum"].shape[1] == chosen.shape[1]
    with pytest.raises(InputError, match="FVD compares logits, which the feature network does not have"):
        FVD().update("real", of_features(pooled))
    with pytest.raises(InputError, match="not finite"):
        FID().update("real", of_features(pooled / 0))
