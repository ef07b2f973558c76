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

SIZE = 16
"""Pixels a side. With half as many, networks have one unit or block less, and compile in half the time."""
VIEW = NearestView(time=2, space=2)
CLASSES = 3
NOISE = 5


def clip_of(size: int) -> Clip:
    return Clip(frames=4, height=size, width=size)


def widths(size: int) -> dict[str, object]:
    return {"channels": 4, "multipliers": (2, 1) if size == SIZE else (1,)}


def upsampling(size: int, **options: object) -> nn.Module:
    return UpsamplingGenerator(
        clip_of(size), VIEW, CLASSES, **widths(size), noise_dim=NOISE, embedding_dim=3, **options
    )


def dvd(size: int, **options: object) -> nn.Module:
    return DVDGenerator(clip_of(size), CLASSES, **widths(size), noise_dim=NOISE, embedding_dim=3, **options)


def timm(size: int, backbone: str) -> nn.Module:
    return TimmDiscriminator(clip_of(size), CLASSES, backbone=backbone, frames=3)


GENERATORS: dict[str, Callable[[int], nn.Module]] = {
    "dvd": dvd,
    "dvd attention": lambda size: dvd(size, attention=(8,)),
    "separable": lambda size: upsampling(size, attention=(8, size)),
    "convgru": lambda size: upsampling(size, temporal_layer="convgru"),
    "resnet3d": lambda size: upsampling(size, temporal_layer="resnet3d"),
    "all axes": lambda size: upsampling(size, attention=(8,), attention_axes=("height", "time", "width")),
}
DISCRIMINATORS: dict[str, Callable[[int], nn.Module]] = {
    "spatial": lambda size: SpatialDiscriminator(clip_of(size), CLASSES, frames=3, **widths(size)),
    "temporal": lambda size: TemporalDiscriminator(clip_of(size), CLASSES, temporal_pooling=True, **widths(size)),
    "matching": lambda size: MatchingDiscriminator(clip_of(size), VIEW, CLASSES, **widths(size)),
    "spatial attention": lambda size: SpatialDiscriminator(
        clip_of(size), CLASSES, frames=3, attention=(size // 2,), **widths(size)
    ),
    "matching attention": lambda size: MatchingDiscriminator(
        clip_of(size), VIEW, CLASSES, attention=(4,), **widths(size)
    ),
    "timm convnext": lambda size: timm(size, "test_convnext"),
    "timm resnet": lambda size: timm(size, "test_resnet"),
    "timm efficientnet": lambda size: timm(size, "test_efficientnet"),
}
NETWORKS = GENERATORS | DISCRIMINATORS


def make(name: str, size: int = SIZE) -> nn.Module:
    """The network called ``name``, always with the same weights, none of them zero."""
    torch.manual_seed(1)
    network = NETWORKS[name](size)
    for part, parameter in network.named_parameters():
        if part.endswith(("bias", "gain")):
            nn.init.normal_(parameter, std=0.3)
    return network


def make_inputs(name: str, batch: int, seed: int = 0, size: int = SIZE) -> dict[str, Tensor | None]:
    """What the network called ``name`` is called with, for ``batch`` clips."""
    random = torch.Generator().manual_seed(seed)
    x_l = torch.rand(VIEW.clip(clip_of(size)).shape(batch), generator=random) * 2 - 1
    y = torch.randint(CLASSES, (batch,), generator=random)
    if name in GENERATORS:
        z = torch.randn(batch, NOISE, generator=random)
        return {"z": z, "y": y, "x_l": None if name.startswith("dvd") else x_l}
    return {"x": torch.rand(clip_of(size).shape(batch), generator=random) * 2 - 1, "y": y, "x_l": x_l}


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
