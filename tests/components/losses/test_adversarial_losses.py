"""The adversarial losses against hand-worked numbers."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from components.losses import AdversarialLoss, GeometricHinge, NonSaturating
from registry import LOSSES, use

REAL = [torch.tensor([[2.0, 0.5], [0.0, -1.0]]), torch.tensor([[1.0], [3.0]])]
FAKE = [torch.tensor([[-2.0, 0.0], [1.0, -0.5]]), torch.tensor([[0.5], [-1.5]])]


def softplus(value: float) -> float:
    """log(1 + e^value)."""
    return math.log1p(math.exp(value))


def test_hinge_of_the_discriminators() -> None:
    """Real margins 0, .5, 1, 2, 0, 0 and fake margins 0, 1, 2, .5, 1.5, 0, each averaged over six outputs."""
    assert GeometricHinge().discriminator(REAL, FAKE).item() == pytest.approx(3.5 / 6 + 5 / 6)


def test_hinge_of_the_generator() -> None:
    """Minus the mean of all six scores, which sum to -2.5: a discriminator of two outputs counts twice."""
    assert GeometricHinge().generator(FAKE).item() == pytest.approx(2.5 / 6)


def test_hinge_with_summed_frames() -> None:
    """With frames summed the real scores are 2.5, -1 | 1, 3 and the fake ones -2, .5 | .5, -1.5."""
    loss = GeometricHinge(sum_frames=True)
    assert loss.discriminator(REAL, FAKE).item() == pytest.approx((0 + 2 + 0 + 0) / 4 + (0 + 1.5 + 1.5 + 0) / 4)
    assert loss.generator(FAKE).item() == pytest.approx(2.5 / 4)


def test_non_saturating() -> None:
    """Softplus of every score by the math module."""
    real = [2.0, 0.5, 0.0, -1.0, 1.0, 3.0]
    fake = [-2.0, 0.0, 1.0, -0.5, 0.5, -1.5]
    expected = sum(softplus(-score) for score in real) / 6 + sum(map(softplus, fake)) / 6
    assert NonSaturating().discriminator(REAL, FAKE).item() == pytest.approx(expected)
    assert NonSaturating().generator(FAKE).item() == pytest.approx(sum(softplus(-score) for score in fake) / 6)


@pytest.mark.parametrize("loss", [GeometricHinge(), GeometricHinge(sum_frames=True), NonSaturating()], ids=repr)
def test_directions_of_the_gradients(loss: AdversarialLoss) -> None:
    """Descent raises real and lowers fake scores for the discriminators, raises fake scores for the generator."""

    def gradients(value: Tensor, scores: list[Tensor]) -> Tensor:
        return torch.cat([each.flatten() for each in torch.autograd.grad(value, scores)])

    real = [torch.zeros(2, 3, requires_grad=True), torch.zeros(2, 1, requires_grad=True)]
    fake = [torch.zeros(2, 3, requires_grad=True), torch.zeros(2, 1, requires_grad=True)]
    assert (gradients(loss.discriminator(real, fake), real) < 0).all()
    assert (gradients(loss.discriminator(real, fake), fake) > 0).all()
    assert (gradients(loss.generator(fake), fake) < 0).all()


def test_scores_beyond_the_margin_get_no_gradient() -> None:
    """The hinge is flat where a real score is above 1 and a fake one below -1."""
    real, fake = torch.tensor([[1.5, 0.9]], requires_grad=True), torch.tensor([[-1.5, -0.9]], requires_grad=True)
    GeometricHinge().discriminator([real], [fake]).backward()
    assert real.grad.tolist() == [[0.0, -0.5]]
    assert fake.grad.tolist() == [[0.0, 0.5]]


def test_losses_are_named_in_specs() -> None:
    """Both are built by name with their options."""
    assert LOSSES.build(use("GeometricHinge", sum_frames=True)).sum_frames is True
    assert isinstance(LOSSES.build(use("NonSaturating")), NonSaturating)
