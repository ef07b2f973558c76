"""One update of a network: what is applied, what is refused, and the loss's scale with float16."""

import contextlib
import copy
import io

import numpy as np
import pytest
import torch
from ranks import results
from torch import nn

from framework.update import LEAST_SCALE, NetworkOptimizer, NotFiniteError, OverflowsError

RATE = 0.1


def network() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(3, 2)


def optimizer_of(module, **options) -> NetworkOptimizer:
    return NetworkOptimizer(torch.optim.SGD(module.parameters(), lr=RATE), "generator", **options)


def values(module) -> list[np.ndarray]:
    return [parameter.detach().double().numpy().copy() for parameter in module.parameters()]


@pytest.mark.parametrize("share", [0.3, 1.7, None])
def test_gradients_are_scaled_to_the_norm(share):
    """The norm is that of all gradients as one vector; those above the bound are scaled to it, others stay."""
    module, x = network(), torch.randn(5, 3)
    before = values(module)
    module(x).square().sum().backward()
    gradients = [p.grad.double().numpy().copy() for p in module.parameters()]
    expected = np.sqrt(sum((each**2).sum() for each in gradients))
    module.zero_grad()
    optimizer = optimizer_of(module, max_norm=None if share is None else share * float(expected))
    loss = module(x).square().sum()
    optimizer.backward(loss)
    norm = optimizer.finish([loss.detach()])
    assert norm.item() == pytest.approx(expected, rel=1e-5)
    factor = 1.0 if share is None else min(1.0, share)
    for old, gradient, new in zip(before, gradients, values(module), strict=True):
        np.testing.assert_allclose(new, old - RATE * factor * gradient, rtol=1e-4, atol=1e-6)
    assert all(parameter.grad is None for parameter in module.parameters())


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_gradients_that_are_not_finite_are_not_applied(precision, bad):
    """A finite loss with a bad gradient, and a bad loss with good ones: which of them, and nothing is updated."""
    module = network()
    before, optimizer = values(module), optimizer_of(module, precision=precision)
    for spoil, loss, which in ((bad, 1.0, "gradient"), (1.0, bad, "loss")):
        module(torch.ones(1, 3)).sum().backward()
        module.weight.grad[0, 0] = spoil
        with pytest.raises(NotFiniteError, match=f"^the {which} of the generator$"):
            optimizer.finish([torch.tensor(0.5), torch.tensor(loss)])
        assert all((a == b).all() for a, b in zip(before, values(module), strict=True))
        assert all(parameter.grad is None for parameter in module.parameters())


def test_float16_scales_the_loss_and_not_the_step():
    """Gradients are many times the loss's in the backward pass, and as without a scale when they are applied."""
    module, other = network(), network()
    x = torch.randn(5, 3)
    half, plain = optimizer_of(module, precision="float16"), optimizer_of(other)
    loss = module(x).square().sum()
    half.backward(loss)
    scaled = module.weight.grad.clone()
    norm = half.finish([loss.detach()])
    loss = other(x).square().sum()
    plain.backward(loss)
    torch.testing.assert_close(scaled, other.weight.grad * 65536, rtol=1e-5, atol=0)
    assert norm.item() == pytest.approx(plain.finish([loss.detach()]).item(), rel=1e-5)
    torch.testing.assert_close(module.weight, other.weight, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("max_norm", [None, 1.0])
def test_float16_leaves_a_step_out_when_scaled_gradients_overflow(max_norm):
    """No norm, the weights as they were, half the scale; the step after it is made. A bad loss is still refused."""
    module = network()
    before, optimizer = values(module), optimizer_of(module, precision="float16", max_norm=max_norm)
    loss = module(torch.ones(1, 3)).sum()
    optimizer.backward(loss)
    module.weight.grad[1, 2] = float("inf")
    assert optimizer.finish([loss.detach()]) is None
    assert all((a == b).all() for a, b in zip(before, values(module), strict=True))
    assert optimizer.state_dict()["scaler"]["scale"] == 65536 / 2
    loss = module(torch.ones(1, 3)).sum()
    optimizer.backward(loss)
    assert optimizer.finish([loss.detach()]).isfinite()
    assert any((a != b).any() for a, b in zip(before, values(module), strict=True))
    optimizer.backward(module(torch.ones(1, 3)).sum())
    with pytest.raises(NotFiniteError, match="the loss"):
        optimizer.finish([torch.tensor(float("nan"))])


def test_state_carries_the_scale():
    """Saved, loaded weights-only and taken up, the scale goes on as it would have: count of good steps and all."""

    def step(module, optimizer, spoil=False):
        loss = module(torch.ones(1, 3)).square().sum()
        optimizer.backward(loss)
        if spoil:
            module.weight.grad[0, 0] = float("inf")
        optimizer.finish([loss.detach()])

    module = network()
    optimizer = NetworkOptimizer(torch.optim.Adam(module.parameters()), "generator", "float16")
    for spoil in (True, False, False):
        step(module, optimizer, spoil)
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    other = copy.deepcopy(module)
    resumed = NetworkOptimizer(torch.optim.Adam(other.parameters()), "generator", "float16")
    resumed.load_state_dict(torch.load(file, weights_only=True))
    for spoil in (False, True, False):
        step(module, optimizer, spoil)
        step(other, resumed, spoil)
    assert resumed.state_dict()["scaler"] == optimizer.state_dict()["scaler"]
    assert optimizer.state_dict()["scaler"]["scale"] == 65536 / 4
    assert torch.equal(other.weight, module.weight)


def spoilt_on_rank_1(precision: str, what: str) -> tuple:
    """One update whose gradient, or loss, is not finite on rank 1 alone: what became of it."""
    module = network()
    before, optimizer = values(module), optimizer_of(module, precision=precision)
    loss = module(torch.ones(1, 3)).sum()
    optimizer.backward(loss)
    spoilt = torch.distributed.get_rank() == 1
    if spoilt and what == "gradient":
        module.weight.grad[0, 0] = float("inf")
    try:
        said = optimizer.finish([torch.tensor(float("nan")) if spoilt and what == "loss" else loss.detach()])
    except NotFiniteError as error:
        said = str(error)
    return said, all((a == b).all() for a, b in zip(before, values(module), strict=True))


@pytest.mark.parametrize("what", ["gradient", "loss"])
def test_all_ranks_agree_before_the_step(tmp_path, what):
    """What is not finite on one rank is applied by none, and all say the same."""
    assert results(spoilt_on_rank_1, 2, tmp_path, "float32", what) == [(f"the {what} of the generator", True)] * 2


def test_an_overflow_on_one_rank_is_every_ranks(tmp_path):
    """A float16 step that one rank must leave out is left out by all: weights stay equal."""
    assert results(spoilt_on_rank_1, 2, tmp_path, "float16", "gradient") == [(None, True)] * 2


def test_float16_goes_on_after_an_update_that_was_refused():
    """A loss that is not finite leaves nothing behind that keeps the scaled gradients of the next update out."""
    weight = torch.nn.Parameter(torch.tensor([1.0]))
    optimizer = NetworkOptimizer(torch.optim.SGD([weight], lr=0.1), "generator", "float16")
    for loss in (weight.sum() * float("nan"), weight.sum()):
        optimizer.backward(loss)
        with contextlib.suppress(NotFiniteError):
            optimizer.finish([loss.detach()])
    assert weight.item() == pytest.approx(0.9)


def test_float16_whose_scale_has_fallen_as_far_as_it_may():
    """Thirty overflows halve it, each after is refused and leaves it; a step in between is made as ever."""
    weight = torch.nn.Parameter(torch.tensor([1.0]))
    optimizer = NetworkOptimizer(torch.optim.SGD([weight], lr=0.1), "generator", "float16")

    def step(spoil=True):
        optimizer.backward(weight.sum())
        if spoil:
            weight.grad[0] = float("inf")
        return optimizer.finish([torch.tensor(1.0)])

    assert [step() for _ in range(30)] == [None] * 30
    for _ in range(3):
        with pytest.raises(OverflowsError, match=r"^the gradient of the generator$"):
            step()
        assert weight.grad is None
        assert optimizer.state_dict()["scaler"]["scale"] == LEAST_SCALE == 2.0**-14
    assert weight.item() == 1.0
    assert step(spoil=False).item() == pytest.approx(1.0)
    assert weight.item() == pytest.approx(0.9)


def test_a_refused_loss_leaves_the_scale():
    """That a loss is not finite is not for the scale to put right, on whichever rank its gradients show it."""
    weight = torch.nn.Parameter(torch.tensor([1.0]))
    optimizer = NetworkOptimizer(torch.optim.SGD([weight], lr=0.1), "generator", "float16")
    for _ in range(3):
        loss = weight.sum() * float("nan")
        optimizer.backward(loss)
        with pytest.raises(NotFiniteError, match="the loss"):
            optimizer.finish([loss.detach()])
        assert optimizer.state_dict()["scaler"]["scale"] == 65536.0
