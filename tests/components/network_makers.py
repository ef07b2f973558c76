"""Small networks of every shipped kind, for the tests of what all of them must bear."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from components.clip import Clip
from components.discriminators import (
    MatchingDiscriminator,
    SpatialDiscriminator,
    TemporalDiscriminator,
    TimmDiscriminator,
)
from components.generators import DVDGenerator, UpsamplingGenerator
from components.views import NearestView

CLIP = Clip(frames=4, height=16, width=16)
VIEW = NearestView(time=2, space=2)
CLASSES = 3
NOISE = 5
WIDTHS = {"channels": 4, "multipliers": (2, 1)}
NOISY = {**WIDTHS, "noise_dim": NOISE, "embedding_dim": 3}

GENERATORS: dict[str, Callable[[], nn.Module]] = {
    "dvd": lambda: DVDGenerator(CLIP, CLASSES, **NOISY),
    "dvd attention": lambda: DVDGenerator(CLIP, CLASSES, attention=(8,), **NOISY),
    "separable": lambda: UpsamplingGenerator(CLIP, VIEW, CLASSES, attention=(8, 16), **NOISY),
    "convgru": lambda: UpsamplingGenerator(CLIP, VIEW, CLASSES, temporal_layer="convgru", **NOISY),
    "resnet3d": lambda: UpsamplingGenerator(CLIP, VIEW, CLASSES, temporal_layer="resnet3d", **NOISY),
}
DISCRIMINATORS: dict[str, Callable[[], nn.Module]] = {
    "spatial": lambda: SpatialDiscriminator(CLIP, CLASSES, frames=3, **WIDTHS),
    "temporal": lambda: TemporalDiscriminator(CLIP, CLASSES, temporal_pooling=True, **WIDTHS),
    "matching": lambda: MatchingDiscriminator(CLIP, VIEW, CLASSES, **WIDTHS),
    "timm convnext": lambda: TimmDiscriminator(CLIP, CLASSES, backbone="test_convnext", frames=3),
    "timm resnet": lambda: TimmDiscriminator(CLIP, CLASSES, backbone="test_resnet", frames=3),
    "timm efficientnet": lambda: TimmDiscriminator(CLIP, CLASSES, backbone="test_efficientnet", frames=3),
}
NETWORKS = GENERATORS | DISCRIMINATORS


def make(name: str) -> nn.Module:
    """The network called ``name``, always with the same weights, none of them zero."""
    torch.manual_seed(1)
    network = NETWORKS[name]()
    for part, parameter in network.named_parameters():
        if part.endswith(("bias", "gain")):
            nn.init.normal_(parameter, std=0.3)
    return network


def make_inputs(name: str, batch: int, seed: int = 0) -> dict[str, Tensor | None]:
    """What the network called ``name`` is called with, for ``batch`` clips."""
    random = torch.Generator().manual_seed(seed)
    x_l = torch.rand(VIEW.clip(CLIP).shape(batch), generator=random) * 2 - 1
    y = torch.randint(CLASSES, (batch,), generator=random)
    if name in GENERATORS:
        z = torch.randn(batch, NOISE, generator=random)
        return {"z": z, "y": y, "x_l": None if name.startswith("dvd") else x_l}
    return {"x": torch.rand(CLIP.shape(batch), generator=random) * 2 - 1, "y": y, "x_l": x_l}


def loss_weights(output: Tensor) -> Tensor:
    """Weights of a loss ``(output * weights).mean()`` that no symmetry of the output cancels."""
    return torch.linspace(-1, 2, output[0].numel()).reshape(output[0].shape).to(output)


def backward(network: nn.Module, inputs: dict[str, Tensor | None]) -> Tensor:
    """Forward and backward of a loss that is a mean over clips; returns the output."""
    output: Tensor = network(**inputs)
    (output * loss_weights(output)).mean().backward()
    return output.detach()


def gradients(network: nn.Module) -> dict[str, Tensor]:
    return {name: parameter.grad for name, parameter in network.named_parameters()}


def buffers(network: nn.Module) -> dict[str, Tensor]:
    """Copies of all that the network remembers: statistics and singular vectors."""
    return {name: buffer.clone() for name, buffer in network.named_buffers()}
