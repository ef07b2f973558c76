"""Small generators that are ready to evaluate, for the tests of this folder."""

from __future__ import annotations

import torch
from torch import nn

from components.clip import Clip, Span
from components.generators import DVDGenerator, Generator, UpsamplingGenerator
from components.layers import standing_statistics
from components.views import NearestView

NOISE = 5


def make_dvd(frames: int, size: int = 8, **options) -> DVDGenerator:
    options = {"channels": 2, "multipliers": (2, 1), "noise_dim": NOISE, "embedding_dim": 3, **options}
    return DVDGenerator(Clip(frames, size, size), 3, **options)


def make_upsampling(frames: int, size: int = 8, *, time: int = 2, space: int = 2, **options) -> UpsamplingGenerator:
    options = {"channels": 2, "multipliers": (2, 1), "noise_dim": NOISE, "embedding_dim": 3, **options}
    return UpsamplingGenerator(Clip(frames, size, size), NearestView(time=time, space=space), 3, **options)


def make_inputs(generator: Generator, frames: int, batch: int = 2) -> dict[str, torch.Tensor | None]:
    """Noise, classes and, for a generator that upsamples, the low-resolution video of ``frames`` output frames."""
    x_l = None
    if isinstance(generator, UpsamplingGenerator):
        low = generator.low
        x_l = torch.rand(batch, frames // generator.time, low.channels, low.height, low.width).double() * 2 - 1
    return {"z": torch.randn(batch, NOISE).double(), "y": torch.arange(batch) % 3, "x_l": x_l}


def ready(generator: Generator, frames: int) -> Generator:
    """In double precision and evaluation mode, with biases and statistics that differ from frame to frame."""
    for name, parameter in generator.named_parameters():
        if name.endswith(("bias", "gain")):
            nn.init.normal_(parameter, std=0.3)
    generator.double()
    with torch.no_grad(), standing_statistics(generator, frames):
        inputs = make_inputs(generator, frames, batch=4)
        generator(**inputs, span=Span.whole(frames))
    return generator.eval()
