"""Spectral normalisation (Miyato et al., 2018) as the paper uses it: by the first singular value (appendix A)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from components.layers.precision import without_autocast
from components.layers.recompute import once

M = TypeVar("M", bound=nn.Module)

WARM_UP = 15
"""Power iterations on a weight when it is first normalised, from random vectors."""


def spectral_norm(layer: M) -> M:
    """Divide ``layer.weight`` by its largest singular value, estimated by one power iteration per forward.

    In training mode *every read* of ``layer.weight`` is one power iteration (and one division): a forward
    that needs the weight more than once must read it once and keep it. In evaluation mode, and inside
    :func:`held_singular_vectors`, the estimate stays as it is.

    Returns:
        ``layer`` itself, its weight parametrized; the trained tensor is ``layer.parametrizations.weight.original``.
    """
    parametrize.register_parametrization(layer, "weight", SpectralNorm(layer.get_parameter("weight")))
    return layer


class SpectralNorm(nn.Module):
    """The parametrization: a weight to the weight divided by its largest singular value.

    A weight of more than two dimensions counts as the matrix of its output channels against all the rest.
    It is torch's own ``spectral_norm``, less the many small operations that make that one cost seconds per
    network on the meta device, where specs are checked.

    Args:
        weight: the weight to be normalised, at least two dimensions.
    """

    u: Tensor
    """The first left singular vector, ``(rows,)``."""
    v: Tensor
    """The first right singular vector, ``(columns,)``."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.held = False
        """Whether training mode, too, leaves the vectors as they are. Set by :func:`held_singular_vectors`."""
        matrix = weight.detach().flatten(1)
        self.register_buffer("u", matrix.new_empty(matrix.shape[0]))
        self.register_buffer("v", matrix.new_empty(matrix.shape[1]))
        if not weight.is_meta:
            self.v.copy_(F.normalize(torch.randn_like(self.v), dim=0))
            for _ in range(WARM_UP):
                self.iterate(matrix)

    def forward(self, weight: Tensor) -> Tensor:
        """The normalised weight; gradients flow through the singular value, not through its vectors.

        Computed in the weight's own precision, under autocast as well.
        """
        with without_autocast(weight):
            matrix = weight.flatten(1)
            u, v = once(self._vectors, matrix)
            return weight / torch.dot(u, torch.mv(matrix, v))

    def _vectors(self, matrix: Tensor) -> tuple[Tensor, Tensor]:
        if self.training and not self.held:
            self.iterate(matrix)
        # Copies, since the next forward changes the vectors before this one's backward may have run.
        return self.u.clone(), self.v.clone()

    @torch.no_grad()
    def iterate(self, matrix: Tensor) -> None:
        """One power iteration."""
        self.u.copy_(F.normalize(torch.mv(matrix, self.v), dim=0))
        self.v.copy_(F.normalize(torch.mv(matrix.t(), self.u), dim=0))


@contextmanager
def held_singular_vectors(module: nn.Module) -> Iterator[None]:
    """Every weight in ``module`` is divided by the same singular value at each forward, in training mode too.

    For the parts of a batch after the first, when an update is made of several: all meet the same weights, and
    the update is one power iteration.
    """
    norms = [part for part in module.modules() if isinstance(part, SpectralNorm)]
    before = [norm.held for norm in norms]
    for norm in norms:
        norm.held = True
    try:
        yield
    finally:
        for norm, held in zip(norms, before, strict=True):
            norm.held = held


@torch.no_grad()
def settle_singular_vectors(module: nn.Module, iterations: int = WARM_UP) -> None:
    """Power iterations on every normalised weight in ``module``, for weights that were put in place of trained ones."""
    for layer in module.modules():
        if isinstance(layer, parametrize.ParametrizationList):
            for part in layer:
                if isinstance(part, SpectralNorm):
                    for _ in range(iterations):
                        part.iterate(layer.original.flatten(1))
