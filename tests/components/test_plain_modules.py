"""The networks against the paper's written plainly (benchmarks/plain_modules), which share no code with them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from components.clip import Clip, Span
from components.discriminators import MatchingDiscriminator, SpatialDiscriminator, TemporalDiscriminator
from components.generators import DVDGenerator, UpsamplingGenerator
from components.views import NearestView

from plain_modules.networks import Discriminator, Generator
from plain_modules.weights import take_over

CLIP, CLASSES, BATCH = Clip(frames=6, height=32, width=32), 3, 3
VIEW = NearestView(time=2, space=2)
WIDTHS = {"channels": 4, "multipliers": (2, 2, 1)}
CONDITION = {"noise_dim": 5, "embedding_dim": 4}


@pytest.fixture(autouse=True)
def double():
    """In float64, where a value on the wrong side of a ReLU's kink by rounding does not decide."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def close(ours: Tensor, theirs: Tensor) -> None:
    assert (ours - theirs).abs().max() <= 1e-9 * theirs.abs().max()


def gradients(network: nn.Module, output: Tensor) -> dict[str, Tensor]:
    """Of a random weighting of ``output``, by the parameter's plain name."""
    weights = torch.randn(output.shape, generator=torch.Generator().manual_seed(1))
    (output * weights).sum().backward()
    return {
        name.replace("trunk.", "").replace("conditioning.", ""): parameter.grad
        for name, parameter in network.named_parameters()
    }


def same_gradients(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    # A convolution's bias before a batch norm has no effect: its gradient is rounding in both.
    scale = max(float(gradient.abs().max()) for gradient in theirs.values())
    for name, gradient in theirs.items():
        bound = 1e-9 * max(float(gradient.abs().max()), 1e-2 * scale)
        assert (ours[name].view(gradient.shape) - gradient).abs().max() <= bound, name


@pytest.mark.parametrize("kind", ["base", "separable", "convgru"])
def test_generators_are_the_papers(kind: str) -> None:
    """Videos, their gradients and the batch norms' statistics are those of plain layers, two training steps on."""
    torch.manual_seed(0)
    low = 0 if kind == "base" else 16
    if kind == "base":
        ours: nn.Module = DVDGenerator(CLIP, CLASSES, **WIDTHS, **CONDITION)
    else:
        ours = UpsamplingGenerator(CLIP, VIEW, CLASSES, **WIDTHS, **CONDITION, temporal_layer=kind)
    plain = Generator(32, 6, CLASSES, **WIDTHS, **CONDITION, low=low, recurrent=kind != "separable")
    take_over(plain, ours)
    for _ in range(2):
        z, y = torch.randn(BATCH, 5), torch.randint(CLASSES, (BATCH,))
        x_l = torch.rand(BATCH, 3, 3, 16, 16) * 2 - 1 if low else None
        ours.zero_grad()
        plain.zero_grad()
        video = ours(z, y, x_l)
        with parametrize.cached():  # one power iteration a forward, as ours
            expected = plain(z, y, x_l)
            close(video, expected)
            same_gradients(gradients(ours, video), gradients(plain, expected))
    close(ours.trunk.norm.running_var, plain.norm.running_var)
    whole = Span.whole(6)
    with torch.no_grad():
        close(ours.eval()(z, y, x_l, whole), plain.eval()(z, y, x_l))


@pytest.mark.parametrize("kind", ["spatial", "temporal", "temporal, halving time", "matching"])
def test_discriminators_are_the_papers(kind: str) -> None:
    """Scores and gradients, those of the video too, are those of plain layers, for real and fake in two passes."""
    torch.manual_seed(0)
    x, x_l = (torch.rand(clip.shape(2 * BATCH)) * 2 - 1 for clip in (CLIP, VIEW.clip(CLIP)))
    y = torch.randint(CLASSES, (2 * BATCH,))
    halve = kind.endswith("time")
    if kind == "spatial":
        ours: nn.Module = SpatialDiscriminator(CLIP, CLASSES, **WIDTHS, frames=6)
        plain, seen = Discriminator(3, 32, CLASSES, **WIDTHS, blocks_3d=0), x
    elif kind == "matching":
        ours = MatchingDiscriminator(CLIP, VIEW, CLASSES, **WIDTHS)
        plain = Discriminator(6, 16, CLASSES, **WIDTHS, blocks_3d=2)
        seen = torch.cat([x[:, ::2, :, ::2, ::2], x_l], 2)
    else:
        ours = TemporalDiscriminator(CLIP, CLASSES, **WIDTHS, temporal_pooling=halve)
        plain = Discriminator(3, 16, CLASSES, **WIDTHS, blocks_3d=2, halve_time=halve)
        seen = x.view(2 * BATCH, 6, 3, 16, 2, 16, 2).mean((4, 6))
    take_over(plain, ours)
    scores = ours(x, y, x_l)
    with parametrize.cached():
        expected = torch.cat([plain(seen[half], y[half]) for half in (slice(0, BATCH), slice(BATCH, None))])
        close(scores, expected)
        same_gradients(gradients(ours, scores), gradients(plain, expected))
