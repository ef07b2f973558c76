"""The gradient penalty on real videos (R1, Mescheder et al., 2018) needs gradients of discriminators' gradients."""

from __future__ import annotations

import pytest
import torch
from network_makers import DISCRIMINATORS, make, make_inputs
from torch import Tensor, nn

from components.layers import differentiate_twice

STEP = 1e-7
"""Small, since the penalty jumps where a ReLU's input changes its sign."""


def penalty(network: nn.Module, inputs: dict[str, Tensor]) -> Tensor:
    """The squared norm of the scores' gradient by the video."""
    torch.manual_seed(0)  # the frames that are looked at
    x = inputs["x"].detach().requires_grad_()
    (slope,) = torch.autograd.grad(network(**{**inputs, "x": x}).sum(), x, create_graph=True)
    return slope.square().sum()


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("name", DISCRIMINATORS)
def test_gradients_of_the_penalty(name: str, training: bool) -> None:
    """The penalty's derivative along a direction in parameter space, by central differences in double precision.

    The direction is random, so every parameter enters. Singular vectors stay, as they do for autograd.
    """
    network = make(name).double().train(training)
    differentiate_twice(network)
    for key, part in network.named_modules():
        if key.endswith("parametrizations.weight.0"):
            part.held = True
    inputs = {
        key: value.double() if value.is_floating_point() else value for key, value in make_inputs(name, 2).items()
    }
    parameters = list(network.parameters())
    direction = [torch.randn_like(parameter) * parameter.detach().abs().mean() for parameter in parameters]

    gradient = torch.autograd.grad(penalty(network, inputs), parameters, allow_unused=True)
    expected = sum((g * d).sum() for g, d in zip(gradient, direction, strict=True) if g is not None)
    values = []
    for step in (STEP, -STEP):
        with torch.no_grad():
            torch._foreach_add_(parameters, direction, alpha=step)
        values.append(penalty(network, inputs).detach())
        with torch.no_grad():
            torch._foreach_add_(parameters, direction, alpha=-step)
    assert expected.abs() > 0
    torch.testing.assert_close((values[0] - values[1]) / (2 * STEP), expected.detach(), rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("name", DISCRIMINATORS)
def test_every_weight_is_penalised(name: str) -> None:
    """The penalty's gradient reaches every weight of two or more dimensions."""
    network = make(name)
    differentiate_twice(network)
    network.zero_grad()
    penalty(network, make_inputs(name, 3)).backward()
    left_out = [key for key, value in network.named_parameters() if value.dim() > 1 and value.grad is None]
    assert left_out == []
