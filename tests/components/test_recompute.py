"""Activation checkpointing changes nothing but memory: every shipped network with it and without."""

from __future__ import annotations

import copy
import sys
from contextlib import nullcontext

import pytest
import torch
from gloo_ranks import on_ranks, share
from network_makers import NETWORKS, backward, buffers, gradients, loss_weights, make, make_inputs
from torch import Tensor, nn

from components.layers import conv2d, recompute
from components.layers.recompute import once

STEPS = 3


def train(network: nn.Module, name: str, steps: int = STEPS, *, half: bool = False) -> list[dict[str, Tensor]]:
    """Output, gradients, buffers and parameters after each of some steps of gradient descent."""
    history = []
    for step in range(steps):
        torch.manual_seed(step)
        network.zero_grad()
        with torch.autocast("cpu", torch.bfloat16) if half else nullcontext():
            output = network(**share(make_inputs(name, 4, seed=step)))
        (output * loss_weights(output)).mean().backward()
        with torch.no_grad():
            for parameter in network.parameters():
                parameter -= 0.1 * parameter.grad
        parts = {"output": output.detach(), **buffers(network), "state": torch.get_rng_state()}
        parts |= {f"gradient of {key}": value.clone() for key, value in gradients(network).items()}
        history.append(parts | {key: value.detach().clone() for key, value in network.named_parameters()})
    return history


def differences(one: list[dict[str, Tensor]], other: list[dict[str, Tensor]]) -> list[str]:
    """Names of what is not equal bit for bit, and of what is there only once."""
    assert len(one) == len(other)
    return [
        f"{name} at {step}"
        for step, (here, there) in enumerate(zip(one, other, strict=True))
        for name in here.keys() | there.keys()
        if name not in here or name not in there or not torch.equal(here[name], there[name])
    ]


def made(name: str, *, recomputed: bool) -> nn.Module:
    """Singular vectors as far from converged as they can be, so that one iteration more would show."""
    network = make(name)
    for key, vector in network.named_buffers():
        if key.endswith((".0.u", ".0.v")):
            vector.copy_(nn.functional.normalize(torch.ones_like(vector) + torch.randn_like(vector), dim=0))
    if recomputed:
        recompute(network)
    return network


@pytest.mark.parametrize("half", [False, True], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("name", NETWORKS)
def test_nothing_changes(name: str, half: bool) -> None:
    """Over three steps: outputs, gradients, weights, statistics, singular vectors, random state, all bit for bit."""
    plain, recomputed = made(name, recomputed=False), made(name, recomputed=True)
    assert list(recomputed.state_dict()) == list(plain.state_dict())
    assert differences(train(recomputed, name, half=half), train(plain, name, half=half)) == []


@pytest.mark.parametrize("name", NETWORKS)
def test_the_comparison_notices_a_second_forward(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the guards off, the traces that a second run leaves are seen."""
    plain, recomputed = made(name, recomputed=False), made(name, recomputed=True)
    expected = train(plain, name)
    for module in ("moments", "spectral_norm"):
        guarded = sys.modules[f"components.layers.{module}"]
        monkeypatch.setattr(guarded, "once", lambda compute, *arguments: compute(*arguments))
    for module in ("conditional_batch_norm", "sync_batch_norm"):
        monkeypatch.setattr(sys.modules[f"components.layers.{module}"], "recomputing", lambda: False)
    found = differences(train(recomputed, name), expected)
    if name == "timm convnext":  # has neither norms nor singular vectors in its stages
        assert found == []
    else:
        assert any(".0.u" in key or "running_mean" in key for key in found)


@pytest.mark.parametrize("name", NETWORKS)
def test_fewer_tensors_are_kept(name: str) -> None:
    """Of what a forward keeps for its backward, in bytes, less than half is left.

    The stem of timm's small residual network is most of it, and no part.
    """
    kept = [kept_bytes(name, recomputed=recomputed) for recomputed in (False, True)]
    assert kept[1] < (0.8 if name == "timm resnet" else 0.5) * kept[0]


def kept_bytes(name: str, *, recomputed: bool) -> int:
    """Bytes of the memory kept, each piece once, parameters and buffers left out."""
    network = made(name, recomputed=recomputed)
    own = {tensor.untyped_storage().data_ptr() for tensor in (*network.parameters(), *network.buffers())}
    kept: dict[int, torch.UntypedStorage] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        network(**make_inputs(name, 4))
    return sum(storage.nbytes() for storage in kept.values())


def on_a_rank() -> dict[str, list[str]]:
    """What differs between with and without, for every network."""
    return {
        name: differences(train(made(name, recomputed=True), name, 2), train(made(name, recomputed=False), name, 2))
        for name in NETWORKS
    }


def test_nothing_changes_on_two_ranks(tmp_path) -> None:
    """Bit for bit on ranks that share the batch: the backward pass does not exchange the moments again."""
    assert on_ranks(on_a_rank, tmp_path) == [{name: [] for name in NETWORKS}] * 2


class Nested(nn.Module):
    """A part inside a part; the inner one draws and counts its runs."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = Inner()
        self.after = conv2d(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.after(self.inner(x)))

    def recomputable(self) -> list[nn.Module]:
        return [self, self.inner]


class Inner(nn.Module):
    """Dropout, and something that must happen once."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = conv2d(2, 2)
        self.dropout = nn.Dropout(0.5)
        self.happened = 0

    def forward(self, x: Tensor) -> Tensor:
        (noise,) = once(self.happen, x)
        return torch.sin(self.dropout(self.layer(x)) + noise)

    def happen(self, x: Tensor) -> tuple[Tensor]:
        self.happened += 1
        return (torch.full_like(x, self.happened),)


def test_parts_inside_parts_that_draw() -> None:
    """What happens once does so in nested parts too; dropout is the same in both runs; twice backward as well."""
    plain = Nested()
    network = copy.deepcopy(plain)
    recompute(network)
    x = torch.randn(2, 2, 4, 4)
    results = []
    for each in (plain, network):
        torch.manual_seed(0)
        y = each(x)
        y.sum().backward(retain_graph=True)
        y.square().sum().backward()
        results.append([y, *gradients(each).values(), *each.buffers()])
        assert each.inner.happened == 1
    assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))


def test_gradients_of_gradients() -> None:
    """The penalty on a discriminator's gradient (R1) is the same, and so are its gradients."""
    results = []
    for recomputed in (False, True):
        network = made("temporal", recomputed=recomputed)
        inputs = make_inputs("temporal", 2)
        x = inputs["x"].requires_grad_()
        (slope,) = torch.autograd.grad(network(**inputs).sum(), x, create_graph=True)
        slope.square().sum().backward()
        results.append([slope, *(value for value in gradients(network).values() if value is not None)])
    assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))


def test_without_gradients_too() -> None:
    """Under no_grad and in evaluation mode the result is that of the plain network."""
    network, plain = made("separable", recomputed=True), made("separable", recomputed=False)
    with torch.no_grad():
        inputs = make_inputs("separable", 2)
        assert torch.equal(network(**inputs), plain(**inputs))
        assert torch.equal(network.eval()(**inputs), plain.eval()(**inputs))


def test_copies_are_recomputed_by_themselves() -> None:
    """A deep copy of a network runs its own parts, not those of the one it was copied from."""
    network = made("separable", recomputed=True)
    twin = copy.deepcopy(network)
    before = buffers(network)
    backward(twin, make_inputs("separable", 2))
    assert all(torch.equal(value, before[name]) for name, value in buffers(network).items())
    assert all(gradient is None for gradient in gradients(network).values())
