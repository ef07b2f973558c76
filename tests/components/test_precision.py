"""Every shipped network under autocast against itself in float32."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from network_makers import DISCRIMINATORS, NETWORKS, buffers, gradients, loss_weights, make, make_inputs
from torch import Tensor, nn

from components.layers import DiscriminatorBlock3d
from components.layers.precision import without_autocast
from components.layers.spectral_norm import SpectralNorm

OUTPUT = {torch.bfloat16: 0.06, torch.float16: 0.008}
"""Largest relative error, of the Euclidean norm, of outputs and statistics: about 8 and 4 times half's precision."""
GRADIENT = {torch.bfloat16: 0.4, torch.float16: 0.2}
"""Of all gradients together; loose, since a few ReLUs of these small networks fall on the other side of zero."""
VECTORS = (".0.u", ".0.v")

HALVES = pytest.mark.parametrize("half", [torch.bfloat16, torch.float16], ids=str)


def run(name: str, half: torch.dtype | None) -> tuple[nn.Module, Tensor]:
    """One forward and backward; the network and its output."""
    network = make(name)
    torch.manual_seed(0)
    with nullcontext() if half is None else torch.autocast("cpu", half):
        output = network(**make_inputs(name, 4))
    (output * loss_weights(output)).mean().backward()
    return network, output.detach()


def error(values: list[Tensor], expected: list[Tensor]) -> float:
    """The Euclidean norm of the difference over that of what is expected."""
    one, other = (torch.cat([value.flatten().double() for value in each]) for each in (values, expected))
    return ((one - other).norm() / other.norm()).item()


@HALVES
@pytest.mark.parametrize("name", NETWORKS)
def test_close_to_float32(name: str, half: torch.dtype) -> None:
    """Outputs, gradients and buffers are finite, float32 and near; singular vectors are the very same."""
    (network, output), (reference, expected) = run(name, half), run(name, None)
    found, wanted = buffers(network), buffers(reference)
    assert output.dtype == torch.float32
    # Two frames, for which 3-D blocks go without bfloat16, are all that this one's blocks see.
    if (name, half) != ("matching", torch.bfloat16):
        assert not torch.equal(output, expected)  # else nothing was computed in half
    assert error([output], [expected]) < OUTPUT[half]
    assert {gradient.dtype for gradient in gradients(network).values()} == {torch.float32}
    assert error(list(gradients(network).values()), list(gradients(reference).values())) < GRADIENT[half]
    for buffer, value in found.items():
        assert value.dtype == wanted[buffer].dtype
        if buffer.endswith(VECTORS):
            assert torch.equal(value, wanted[buffer])
        elif "running" in buffer:
            assert error([value], [wanted[buffer]]) < OUTPUT[half]


@HALVES
@pytest.mark.parametrize("name", NETWORKS)
def test_normalised_weights_are_those_of_float32(name: str, half: torch.dtype) -> None:
    """Every weight read under autocast is bit for bit that read without: the division is not made in half."""
    plain, autocast = make(name), make(name)
    names = [key for key, part in plain.named_modules() if hasattr(part, "parametrizations")]
    with torch.autocast("cpu", half):
        weights = [autocast.get_submodule(key).weight for key in names]
    for key, weight in zip(names, weights, strict=True):
        assert torch.equal(weight, plain.get_submodule(key).weight)


@pytest.mark.parametrize("name", NETWORKS)
def test_no_power_iteration_is_under_autocast(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU autocast would compute it in half (on the CPU it knows no product of matrix and vector)."""
    seen = []
    monkeypatch.setattr(SpectralNorm, "iterate", lambda norm, matrix: seen.append(torch.is_autocast_enabled("cpu")))
    network = make(name)
    with torch.autocast("cpu", torch.bfloat16):
        network(**make_inputs(name, 2))
        assert torch.is_autocast_enabled("cpu")
    assert seen
    assert not any(seen)


@HALVES
@pytest.mark.parametrize("name", DISCRIMINATORS)
def test_scores_are_computed_in_float32(name: str, half: torch.dtype) -> None:
    """Given the features, scores under autocast are those without, bit for bit."""
    head = make(name).head.eval()
    features, y = 100 * torch.randn(4, 3, head.linear.in_features), torch.tensor([0, 1, 2, 0])
    with torch.autocast("cpu", half):
        scores = head(features, y)
    assert torch.equal(scores, head(features, y))


@pytest.mark.parametrize("frames", [1, 2, 3])
@pytest.mark.parametrize("last", [False, True])
def test_gradients_of_3d_blocks_in_bfloat16(frames: int, last: bool) -> None:
    """Within 3 % of float32's, for two frames too, of which oneDNN's own would be noise."""
    block = DiscriminatorBlock3d(16, 16).eval()
    x = torch.randn(8, 16, frames, 4, 4)
    x = x.contiguous(memory_format=torch.channels_last_3d) if last else x
    found = []
    for half in (False, True):
        block.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            y = block(x)
        (y.float() * torch.linspace(-1, 2, y[0].numel()).view(y[0].shape)).mean().backward()
        found.append(torch.cat([parameter.grad.flatten() for parameter in block.parameters()]))
    assert (found[1] - found[0]).norm() <= 0.03 * found[0].norm()


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_leaving_autocast_asks_nothing_that_breaks_a_graph(monkeypatch, device):
    """Whether a device has autocast is known beforehand: torch 2.11 compiles no network in one graph that asks."""
    monkeypatch.setattr(torch.amp, "is_autocast_available", lambda _: pytest.fail("asked"))
    x = torch.ones(2, 2, device=device)
    for enabled in (True, False):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled), without_autocast(x):
            assert (x @ x).dtype == torch.float32
