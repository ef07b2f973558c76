"""What a person asks to be generated: samples, their noise and classes, and how they are shared out."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import torch
from torch import Tensor

from components import ranks
from framework.cascade import Cascade
from framework.noise import noise_between, sample_noise
from registry import InputError

FORMATS = ("mp4", "png", "gif", "zarr")


@attrs.frozen(kw_only=True)
class Request:
    """What to generate."""

    stage: str | None = None
    """The last stage of the cascade; None is the last one of the graph."""
    count: int = 8
    frames: int | None = None
    """Length of the last stage's videos, any; None is its clip's."""
    label: str | None = None
    """Name of a class; None takes the classes in turn."""
    sigma: float = 1.0
    """Standard deviation of the noise; the paper's pictures are made at 0.5."""
    seed: int = 0
    between: tuple[int, int] | None = None
    """Two sample numbers: the samples are steps from the noise of the one to that of the other."""
    formats: tuple[str, ...] = ("mp4", "png")
    rate: int | None = None
    """Frames per second of films; None is :data:`framework.pictures.FILM_RATE`, or the pace of a given video."""
    batch: int = 8
    """Samples generated at a time; those of a batch share a film and a picture."""

    def labels(self, classes: Sequence[str] | None) -> Tensor | None:
        """The class of every sample, int64 ``(count,)``; None when unconditional.

        Args:
            classes: names of the cascade's classes; None when it is unconditional.

        Raises:
            InputError: there is no class of that name.
        """
        if classes is None:
            if self.label is not None:
                raise InputError.of("--label", f"{self.label!r}: the cascade is unconditional", allowed="no --label")
            return None
        if self.label is None:
            if self.between is not None:
                return torch.full((self.count,), self.between[0] % len(classes))
            return torch.arange(self.count) % len(classes)
        if self.label not in classes:
            raise InputError.unknown("--label", "class", self.label, classes)
        return torch.full((self.count,), list(classes).index(self.label))

    def noise(self, cascade: Cascade, numbers: Sequence[int]) -> list[Tensor]:
        """For every stage of the cascade the noise of the samples ``numbers``, ``(len(numbers), noise_dim)``."""
        if self.between is None:
            return sample_noise(cascade, self.seed, numbers, self.sigma)
        places = torch.tensor(list(numbers)) / max(1, self.count - 1)
        return noise_between(cascade, self.seed, self.between, places, self.sigma)

    def batches(self) -> list[range]:
        """The samples of every batch; small enough that all ranks have some."""
        size = min(self.batch, -(-self.count // ranks.world()))
        return [range(first, min(first + size, self.count)) for first in range(0, self.count, size)]
