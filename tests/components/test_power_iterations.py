"""Power iterations of all layers in one pass: every shipped network against its layers, each by itself."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from itertools import pairwise

import pytest
import torch
from gloo_ranks import on_ranks, share
from network_makers import GENERATORS, NETWORKS, buffers, gradients, loss_weights, make, make_inputs
from torch import Tensor, nn

from components.layers import PowerIterations, fix_weights, held_singular_vectors, recompute
from components.layers.spectral_norm import SpectralNorm

STEPS = 3
CLOSE = {"rtol": 1e-8, "atol": 1e-10}
"""Double precision, so that rounding does not grow to what an error would be."""


def made(name: str, size: int = 16) -> nn.Module:
    """Singular vectors as far from converged as they can be, so that one iteration more or less would show."""
    network = make(name, size).double()
    for norm in norms(network):
        for vector in (norm.u, norm.v):
            vector.copy_(nn.functional.normalize(torch.ones_like(vector) + torch.randn_like(vector), dim=0))
    return network


def inputs(name: str, batch: int, seed: int = 0, size: int = 16) -> dict[str, Tensor | None]:
    """In double precision."""
    made = make_inputs(name, batch, seed, size)
    return {
        key: value.double() if key in ("x", "x_l", "z") and value is not None else value for key, value in made.items()
    }


def norms(network: nn.Module) -> list[SpectralNorm]:
    return [part for part in network.modules() if isinstance(part, SpectralNorm)]


def train(
    network: nn.Module, name: str, iterated: Callable[[], AbstractContextManager[None]] = nullcontext, size: int = 16
) -> list[dict[str, Tensor]]:
    """Output, gradients, weights and all that the network remembers after each of some steps."""
    history = []
    for step in range(STEPS):
        torch.manual_seed(step)
        network.zero_grad()
        with iterated():
            output = network(**share(inputs(name, 4, step, size)))
        (output * loss_weights(output)).mean().backward()
        with torch.no_grad():
            for parameter in network.parameters():
                parameter -= 0.05 * parameter.grad
        parts = {f"gradient of {key}": value.clone() for key, value in gradients(network).items()}
        history.append({"output": output.detach(), **buffers(network), **parts})
    return history


@pytest.mark.parametrize(
    ("name", "recomputed"),
    [*((name, False) for name in NETWORKS), *((name, True) for name in ("convgru", "temporal", "timm resnet"))],
)
def test_training_is_that_of_the_layers(name: str, recomputed: bool) -> None:
    """Over three steps: outputs, gradients, statistics and singular vectors, to rounding; nothing is left behind."""
    layers, together = made(name), made(name)
    if recomputed:
        recompute(together)
    found, expected = train(together, name, PowerIterations(together)), train(layers, name)
    torch.testing.assert_close(found, expected, **CLOSE)
    assert all(norm.prepared is None for norm in norms(together))
    assert list(together.state_dict()) == list(layers.state_dict())
    assert any((one["output"] - other["output"]).abs().max() > 1e-3 for one, other in pairwise(found))


@pytest.mark.parametrize("name", ["temporal", "separable"])
def test_one_iteration_more_would_show(name: str) -> None:
    """The comparison above tells a second power iteration from one."""
    layers, twice = made(name), made(name)
    for norm, part in ((n, p) for p in twice.modules() if hasattr(p, "original") for n in p):
        norm.iterate(part.original.detach().flatten(1))
    with pytest.raises(AssertionError):
        torch.testing.assert_close(train(twice, name, PowerIterations(twice)), train(layers, name), **CLOSE)


def test_vectors_are_those_of_a_power_iteration() -> None:
    """Left it is Wv over its length, right Wᵀu over its length, and sigma is that length."""
    network = made("matching")
    before = {norm: (norm.u.clone(), norm.v.clone()) for norm in norms(network)}
    weights = {part[0]: part.original.detach().flatten(1) for part in network.modules() if hasattr(part, "original")}
    with PowerIterations(network)():
        for norm, (_, v) in before.items():
            u = weights[norm] @ v / (weights[norm] @ v).norm()
            sigma = (weights[norm].T @ u).norm()
            for found, expected in zip(norm.prepared, (u, weights[norm].T @ u / sigma, sigma), strict=True):
                torch.testing.assert_close(found, expected, **CLOSE)
            torch.testing.assert_close([norm.u, norm.v], list(norm.prepared[:2]), rtol=0, atol=0)


def test_held_and_evaluated_layers_are_left_alone() -> None:
    """Inside ``held_singular_vectors``, and in evaluation mode, no vector moves and weights are those without."""
    network, plain = made("spatial"), made("spatial")
    before = buffers(network)
    for holding in (held_singular_vectors, lambda module: nullcontext(module.eval())):
        scores = []
        for each, iterated in ((network, PowerIterations(network)), (plain, nullcontext)):
            torch.manual_seed(0)
            with holding(each), iterated():
                scores.append(each(**inputs("spatial", 2)))
        assert torch.equal(*scores)
        torch.testing.assert_close(buffers(network), before, rtol=0, atol=0)


def test_nothing_is_prepared_after_an_error_or_in_a_copy() -> None:
    """A forward that fails leaves layers to themselves; a copy's are its own."""
    network = made("temporal")
    iterations = PowerIterations(network)
    with pytest.raises(RuntimeError, match="on purpose"), iterations():
        raise RuntimeError("on purpose")
    assert all(norm.prepared is None for norm in norms(network))
    twin = copy.deepcopy(network)
    with iterations():
        assert all(norm.prepared is None for norm in norms(twin))


@pytest.mark.parametrize("recomputed", [False, True], ids=["kept", "recomputed"])
def test_compiled(recomputed: bool) -> None:
    """A compiled network meets what was prepared outside of it, without being compiled again."""
    torch._dynamo.reset()
    plain, compiled = made("temporal", 8), made("temporal", 8)
    if recomputed:
        recompute(compiled)
    compiled.compile(backend="aot_eager", fullgraph=True)
    with torch._dynamo.config.patch(error_on_recompile=True):
        found = train(compiled, "temporal", PowerIterations(compiled), 8)
    torch.testing.assert_close(found, train(plain, "temporal", size=8), **CLOSE)
    torch._dynamo.reset()


def on_a_rank() -> list[list[dict[str, Tensor]]]:
    one, other = made("separable"), made("separable")
    return [train(one, "separable", PowerIterations(one)), train(other, "separable")]


def test_on_two_ranks(tmp_path) -> None:
    """Ranks that share the batch, and exchange moments, do what they do with each layer by itself."""
    for found, expected in on_ranks(on_a_rank, tmp_path):
        torch.testing.assert_close(found, expected, **CLOSE)


@pytest.mark.parametrize("moving", [True, False], ids=["training", "evaluation"])
def test_the_written_out_derivative(moving: bool) -> None:
    """Of the normalised weight by the weight: autograd's own of ``W / (uᵀ W v)``, in double precision."""
    network = made("temporal").train(moving)
    for part in network.modules():
        if not hasattr(part, "original"):
            continue
        weight = part.original
        weights = torch.randn_like(weight)
        (found,) = torch.autograd.grad((part() * weights).sum(), weight)
        u, v = part[0].u, part[0].v
        sigma = u @ weight.flatten(1) @ v
        (expected,) = torch.autograd.grad((weight / sigma * weights).sum(), weight)
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", GENERATORS)
def test_fixed_weights(name: str) -> None:
    """In evaluation mode the same bits come of weights that were divided once; nothing is left to divide by."""
    network = make(name)
    given = make_inputs(name, 2)
    with torch.no_grad():
        network(**given)  # statistics
        expected = network.eval()(**given)
        modes = [part.training for part in network.modules()]
        fix_weights(network)
        assert torch.equal(network(**given), expected)
    assert norms(network) == []
    assert not any(modes + [part.training for part in network.modules()])
