"""``network.compile()``: every shipped network compiled against itself as it is written.

With the backend that traces everything, forward and backward, and then runs torch's own operators, so that results
are comparable; what kernels are made of a graph is torch's affair.
"""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from gloo_ranks import on_ranks, share
from network_makers import DISCRIMINATORS, GENERATORS, backward, buffers, gradients, make, make_inputs
from torch import Tensor, nn

from components.layers import GeneratorBlock2d, recompute, reserve_statistics

FRAMES = 4
SMALL = 8
NOT_TRIED = ("dvd", "convgru", "timm efficientnet", "spatial attention")
TRIED = [name for name in (*GENERATORS, *DISCRIMINATORS) if name not in NOT_TRIED]
"""All but four whose parts others have, for the time it takes."""
SAMPLING = [name for name in DISCRIMINATORS if not name.startswith(("temporal", "matching"))]
"""Break their graph where they draw frames."""


@pytest.fixture(autouse=True)
def compiling() -> None:
    """No graph is carried from test to test, and none may be compiled twice."""
    torch._dynamo.reset()
    with torch._dynamo.config.patch(error_on_recompile=True):
        yield
    torch._dynamo.reset()


def both(name: str, *, recomputed: bool = False) -> tuple[nn.Module, nn.Module]:
    """A network, and its twin that is compiled at the first call, in one graph if it draws nothing."""
    networks = make(name, SMALL), make(name, SMALL)
    for network in networks:
        reserve_statistics(network, FRAMES)
    if recomputed:
        recompute(networks[1])
    names = list(networks[1].state_dict())
    networks[1].compile(backend="aot_eager", fullgraph=name not in SAMPLING)
    assert list(networks[1].state_dict()) == names
    return networks


def step(network: nn.Module, name: str, seed: int, half: torch.dtype | None = None) -> Tensor:
    """Forward and backward, gradients added up."""
    torch.manual_seed(seed)
    with nullcontext() if half is None else torch.autocast("cpu", half):
        return backward(network, share(make_inputs(name, 4, seed, SMALL)))


def assert_equal(compiled: nn.Module, plain: nn.Module) -> None:
    """Gradients and buffers: close, since what is computed in what order is left to the compiler."""
    close = {"rtol": 1e-4, "atol": 1e-5}
    torch.testing.assert_close(gradients(compiled), gradients(plain), **close)
    torch.testing.assert_close(buffers(compiled), buffers(plain), **close)


@pytest.mark.parametrize("name", TRIED)
def test_training_and_evaluation(name: str) -> None:
    """Over three steps, then in evaluation mode: outputs, gradients and buffers, each mode compiled once."""
    plain, compiled = both(name)
    for seed in range(3):
        torch.testing.assert_close(step(compiled, name, seed), step(plain, name, seed), rtol=1e-4, atol=1e-5)
    assert_equal(compiled, plain)

    with torch._dynamo.config.patch(error_on_recompile=False), torch.no_grad():  # another mode, another graph
        results = []
        for network in (compiled.eval(), plain.eval()):
            torch.manual_seed(0)
            results.append(network(**make_inputs(name, 4, size=SMALL)))
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["spatial", "temporal", "matching"])
def test_under_autocast(name: str) -> None:
    """In bfloat16 as well, to its precision."""
    plain, compiled = both(name)
    for seed in range(2):
        one, other = (step(network, name, seed, torch.bfloat16) for network in (compiled, plain))
        torch.testing.assert_close(one, other, rtol=2e-2, atol=2e-2)
    for key, gradient in gradients(plain).items():
        assert (gradients(compiled)[key] - gradient).norm() <= 2e-2 * gradient.norm()
    torch.testing.assert_close(buffers(compiled), buffers(plain))


@pytest.mark.parametrize("name", ["temporal", "timm resnet", "resnet3d"])
def test_with_recomputed_activations(name: str) -> None:
    """Compiled with its activations computed again, a network still tracks and iterates once a step."""
    plain, compiled = both(name, recomputed=True)
    for seed in range(2):
        torch.testing.assert_close(step(compiled, name, seed), step(plain, name, seed), rtol=1e-4, atol=1e-5)
    assert_equal(compiled, plain)


def test_recomputation_that_cannot_be_compiled_is_refused() -> None:
    """Without reserved rows the first batch would be tracked twice; instead there is an error."""
    network = make("resnet3d", SMALL)
    recompute(network)
    network.compile(backend="aot_eager")
    with pytest.raises(torch._dynamo.exc.Unsupported, match="side effect"):
        step(network, "resnet3d", 0)


def test_gradients_of_gradients_with_the_compiled_graph_left_aside() -> None:
    """What compiled graphs cannot do, the network does as it is written, under the stance that torch has for it."""
    plain, compiled = both("temporal")
    step(plain, "temporal", 0)
    step(compiled, "temporal", 0)
    inputs = make_inputs("temporal", 2, size=SMALL)
    x = inputs["x"].requires_grad_()
    for network in (plain, compiled):
        with torch.compiler.set_stance("force_eager"):
            (slope,) = torch.autograd.grad(network(**inputs).sum(), x, create_graph=True)
        slope.square().sum().backward()
    assert_equal(compiled, plain)


def block_on_a_rank() -> list[Tensor]:
    """A block with norms: gradients and buffers after two batches, as written and compiled."""
    results = []
    x, condition = torch.randn(4, FRAMES, 2, 4, 4), torch.randn(4, 3)
    for compiled in (False, True):
        torch.manual_seed(0)
        block = GeneratorBlock2d(2, 2, 3)
        reserve_statistics(block, FRAMES)
        if compiled:
            block.compile(backend="aot_eager", fullgraph=True)
        for scale in (1, 2):
            part = share({"x": scale * x, "condition": condition})
            block(**part).square().sum().backward()
        results += [*gradients(block).values(), *block.buffers()]
    return results


def test_on_two_ranks(tmp_path) -> None:
    """The exchange of moments is compiled with the rest, forward and backward."""
    for results in on_ranks(block_on_a_rank, tmp_path):
        half = len(results) // 2
        torch.testing.assert_close(results[half:], results[:half], rtol=1e-4, atol=1e-5)
