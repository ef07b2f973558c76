"""Updates made of several parts of a batch."""

from __future__ import annotations

import pytest
import torch
from network_makers import DISCRIMINATORS, NETWORKS, backward, buffers, gradients, make, make_inputs

from components.layers import held_singular_vectors
from components.layers.spectral_norm import SpectralNorm

WITHOUT_SAMPLING = ["temporal", "matching", "matching attention"]


@pytest.mark.parametrize("name", WITHOUT_SAMPLING)
def test_parts_add_up_to_the_batch(name: str) -> None:
    """The mean of the gradients of two halves is that of the batch, and the vectors move once; without holding not."""
    inputs = make_inputs(name, 4)
    halves = [{key: value[part] for key, value in inputs.items()} for part in (slice(2), slice(2, 4))]
    whole, parts, careless = make(name), make(name), make(name)
    backward(whole, inputs)
    backward(parts, halves[0])
    with held_singular_vectors(parts):
        backward(parts, halves[1])
    for half in halves:
        backward(careless, half)
    expected = gradients(whole)
    for parameter, gradient in gradients(parts).items():
        torch.testing.assert_close(gradient / 2, expected[parameter], rtol=1e-4, atol=1e-5)
    assert all(torch.equal(value, buffers(whole)[buffer]) for buffer, value in buffers(parts).items())
    assert not all(torch.equal(value, buffers(whole)[buffer]) for buffer, value in buffers(careless).items())


@pytest.mark.parametrize("name", [*DISCRIMINATORS, "separable"])
def test_held_vectors_stay(name: str) -> None:
    """Inside, no vector moves in training mode; after it and after an error they move again."""
    network = make(name)
    inputs = make_inputs(name, 2)
    norms = [part for part in network.modules() if isinstance(part, SpectralNorm)]
    # One power iteration on singular vectors that have converged would change nothing.
    for norm in norms:
        norm.u.copy_(torch.nn.functional.normalize(torch.randn_like(norm.u), dim=0))
        norm.v.copy_(torch.nn.functional.normalize(torch.randn_like(norm.v), dim=0))
    before = [(norm.u.clone(), norm.v.clone()) for norm in norms]
    with pytest.raises(RuntimeError, match="on purpose"), held_singular_vectors(network):
        network(**inputs)
        assert all(torch.equal(norm.v, v) for norm, (_, v) in zip(norms, before, strict=True))
        raise RuntimeError("on purpose")
    network(**inputs)
    assert [norm for norm, (_, v) in zip(norms, before, strict=True) if torch.equal(norm.v, v) and len(v) > 1] == []


def test_every_shipped_network_is_tried() -> None:
    """The makers of these tests cover every registered generator and discriminator."""
    from registry import DISCRIMINATORS as KIND_D
    from registry import GENERATORS as KIND_G

    made = {type(make(name)).__name__ for name in NETWORKS}
    assert made == {*KIND_D.names(), *KIND_G.names()}
