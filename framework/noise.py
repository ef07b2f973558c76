"""The noise of samples: of each by its number alone, or on the way from one to another."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from framework.cascade import Cascade
from framework.randomness import generator_at


def sample_noise(cascade: Cascade, seed: int, numbers: Sequence[int], sigma: float) -> list[Tensor]:
    """Every stage's noise for the samples ``numbers``, ``(len(numbers), noise_dim)`` each, N(0, sigma²)."""
    noise = []
    for link in cascade.links:
        rows = [torch.randn(link.generator.noise_dim, generator=generator_at(seed, link.name, k)) for k in numbers]
        noise.append((sigma * torch.stack(rows)).to(cascade.device))
    return noise


def noise_between(cascade: Cascade, seed: int, ends: tuple[int, int], places: Tensor, sigma: float) -> list[Tensor]:
    """Noise on the way from the sample ``ends[0]`` to ``ends[1]``: on the great circle, where noise is as likely.

    Args:
        cascade: whose stages' noise it is.
        seed: of the samples.
        ends: their numbers.
        places: ``(B,)`` in [0, 1], how far on the way.
        sigma: standard deviation of the ends.

    Returns:
        For every stage ``(B, noise_dim)``.
    """
    return [spherical(z[0], z[1], places.to(z.device)) for z in sample_noise(cascade, seed, ends, sigma)]


def spherical(start: Tensor, end: Tensor, places: Tensor) -> Tensor:
    """Spherical interpolation (Shoemake, 1985) between two vectors ``(D,)`` at ``places`` ``(B,)``: ``(B, D)``.

    The length goes evenly from the one's to the other's. Vectors in one line are interpolated straight.
    """
    lengths = torch.lerp(start.norm(), end.norm(), places)[:, None]
    one, other = (vector / vector.norm().clamp(min=1e-12) for vector in (start, end))
    angle = torch.arccos((one @ other).clamp(-1, 1))
    if angle.sin().abs() < 1e-6:
        return torch.lerp(start, end, places[:, None])
    way = (torch.sin((1 - places) * angle)[:, None] * one + torch.sin(places * angle)[:, None] * other) / angle.sin()
    between: Tensor = way * lengths
    return between
