"""Whatever is drawn or averaged over a batch does not depend on how many processes share it."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from gloo_ranks import WORLD, on_ranks, share
from network_makers import DISCRIMINATORS, NETWORKS, NOISE, backward, buffers, gradients, make, make_inputs
from torch import Tensor

from components import ranks
from components.backbones import ImageBackbone
from components.discriminators.sampling import sample_frames
from components.layers import differentiate_twice
from components.torchvision_cpu import ensure_torchvision_imports

BATCH = 4


def clips(first: int) -> Tensor:
    """Videos whose every value tells the clip and the frame."""
    numbers = torch.arange(BATCH * 9.0).reshape(BATCH, 9, 1, 1, 1)
    return first + numbers


def two_steps(name: str) -> dict[str, dict[str, Tensor]]:
    """Outputs, gradients added up over two steps, and what the network remembers after them."""
    network = make(name)
    outputs = {}
    for step in range(2):
        torch.manual_seed(step)
        outputs[str(step)] = backward(network, share(make_inputs(name, BATCH, seed=step)))
    return {"outputs": outputs, "gradients": gradients(network), "buffers": buffers(network)}


def penalised(name: str) -> dict[str, Tensor]:
    """Gradients of the squared norm of the scores' gradient by this process's videos."""
    network = make(name).double()
    differentiate_twice(network)
    torch.manual_seed(0)
    inputs = share(make_inputs(name, BATCH))
    x = inputs["x"].double().requires_grad_()
    scores = network(**{**inputs, "x": x, "x_l": inputs["x_l"].double()})
    (slope,) = torch.autograd.grad(scores.sum(), x, create_graph=True)
    slope.square().sum().backward()
    return {key: value for key, value in gradients(network).items() if value is not None}


def sampled() -> Tensor:
    """The frames sampled of this process's real and generated clips in one batch."""
    torch.manual_seed(3)
    part = slice(ranks.rank(), None, ranks.world())
    return sample_frames(torch.cat([clips(0)[part], clips(1000)[part]]), 3).flatten(1)


def normalised() -> list[Tensor]:
    """Outputs of a norm whose gain is 1 for one clip per rank, these 1 apart: by rank 1 alone, then by both."""
    norm = make("dvd").trunk.norm
    x = ranks.rank() + torch.arange(4.0).reshape(2, 2).expand(1, 2, norm.channels, 2, 2)
    condition = torch.zeros(1, NOISE + 3)
    outputs = []
    if ranks.rank() == 1:  # a collective would wait for rank 0 forever
        with ranks.alone():
            with ranks.alone():
                outputs.append(norm(x, condition))
            assert (ranks.rank(), ranks.world()) == (0, 1)
            outputs.append(norm(x, condition))
    assert ranks.world() == WORLD
    return [output.detach() for output in (*outputs, norm(x, condition))]


def everything() -> dict[str, object]:
    """All at once: processes take seconds to start."""
    return {
        "networks": {name: two_steps(name) for name in NETWORKS},
        "penalised": {name: penalised(name) for name in DISCRIMINATORS},
        "sampled": sampled(),
        "normalised": normalised(),
    }


@pytest.fixture(scope="module")
def shares(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, object]]:
    """What :func:`everything` gives in each of two ranks."""
    return on_ranks(everything, tmp_path_factory.mktemp("ranks"))


def interleaved(parts: list[Tensor]) -> Tensor:
    return torch.stack(parts, dim=1).flatten(0, 1)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_equals_one_process(name: str, shares: list[dict]) -> None:
    """Over two steps: outputs, mean of the ranks' gradients, running statistics and singular vectors."""
    ours, whole = [each["networks"][name] for each in shares], two_steps(name)
    close = {"rtol": 2e-4, "atol": 2e-5}
    for step, output in whole["outputs"].items():
        torch.testing.assert_close(interleaved([each["outputs"][step] for each in ours]), output, **close)
    for parameter, gradient in whole["gradients"].items():
        mean = sum(each["gradients"][parameter] for each in ours) / WORLD
        torch.testing.assert_close(mean, gradient, **close, msg=lambda text, name=parameter: f"{name}: {text}")
    for buffer, value in whole["buffers"].items():
        for each in ours:
            torch.testing.assert_close(each["buffers"][buffer], value, **close)


@pytest.mark.parametrize("name", DISCRIMINATORS)
def test_gradient_penalties_equal_one_process(name: str, shares: list[dict]) -> None:
    """The ranks' gradients of a penalty on gradients (R1) add up to the whole batch's, through batch norms too."""
    for parameter, gradient in penalised(name).items():
        torch.testing.assert_close(sum(each["penalised"][name][parameter] for each in shares), gradient)


def test_sampled_frames_do_not_depend_on_ranks(shares: list[dict]) -> None:
    """Each real and each generated clip of a joined batch gets the frames that it gets in one process."""
    whole = sampled()
    real, fake = (interleaved([each["sampled"].split(BATCH // WORLD)[half] for each in shares]) for half in (0, 1))
    assert torch.equal(torch.cat([real, fake]), whole)
    assert len({tuple((row % 9).tolist()) for row in whole}) > 1


def test_alone_a_rank_waits_for_none(shares: list[dict]) -> None:
    """Inside `alone`, nested too, a rank's one clip is the whole batch; after it the ranks' clips are."""
    _, of_rank_1 = (each["normalised"] for each in shares)
    values = torch.arange(4.0)
    for output, seen in zip(of_rank_1, [1 + values, 1 + values, torch.cat([values, 1 + values])], strict=True):
        expected = (1 + values - seen.mean()) / seen.var(correction=0).sqrt()
        torch.testing.assert_close(output, expected.reshape(2, 2).expand_as(output), rtol=1e-4, atol=1e-4)


def test_a_backbone_draws_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that timm makes with stochastic depth and dropout gives training mode's features twice alike."""
    ensure_torchvision_imports()
    import timm

    dropping = partial(timm.create_model, drop_path_rate=0.5, drop_rate=0.5)
    images = torch.rand(2, 3, 32, 32)
    as_timm_makes_it = dropping("test_convnext", num_classes=0).train()
    assert not torch.equal(as_timm_makes_it(images), as_timm_makes_it(images))
    monkeypatch.setattr(timm, "create_model", dropping)
    backbone = ImageBackbone("test_convnext", 3).train()
    assert torch.equal(backbone(images), backbone(images))
