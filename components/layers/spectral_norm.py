"""Spectral normalisation (Miyato et al., 2018) as the paper uses it: by the first singular value (appendix A)."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

M = TypeVar("M", bound=nn.Module)

WARM_UP = 15
"""Power iterations on a weight when it is first normalised, from random vectors."""


def spectral_norm(layer: M) -> M:
    """Divide ``layer.weight`` by its largest singular value, estimated by one power iteration per forward.

    In training mode *every read* of ``layer.weight`` is one power iteration (and one division): a forward
    that needs the weight more than once must read it once and keep it. In evaluation mode the estimate
    stays as it is.

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
        matrix = weight.detach().flatten(1)
        self.register_buffer("u", matrix.new_empty(matrix.shape[0]))
        self.register_buffer("v", matrix.new_empty(matrix.shape[1]))
        if not weight.is_meta:
            self.v.copy_(F.normalize(torch.randn_like(self.v), dim=0))
            for _ in range(WARM_UP):
                self.iterate(matrix)

    def forward(self, weight: Tensor) -> Tensor:
        """The normalised weight; gradients flow through the singular value, not through its vectors."""
        matrix = weight.flatten(1)
        if self.training:
            self.iterate(matrix)
        # Copies, since the next forward changes the vectors before this one's backward may have run.
        largest = torch.dot(self.u.clone(), torch.mv(matrix, self.v.clone()))
        return weight / largest

    @torch.no_grad()
    def iterate(self, matrix: Tensor) -> None:
        """One power iteration."""
        self.u.copy_(F.normalize(torch.mv(matrix, self.v), dim=0))
        self.v.copy_(F.normalize(torch.mv(matrix.t(), self.u), dim=0))
