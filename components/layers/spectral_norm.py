"""Spectral normalisation (Miyato et al., 2018) as the paper uses it: by the first singular value (appendix A)."""

from __future__ import annotations

from typing import TypeVar

from torch import nn
from torch.nn.utils import parametrizations

M = TypeVar("M", bound=nn.Module)


def spectral_norm(layer: M) -> M:
    """Divide ``layer.weight`` by its largest singular value, estimated by one power iteration per forward.

    A weight of more than two dimensions counts as the matrix of its output channels against all the rest.
    In training mode *every read* of ``layer.weight`` is one power iteration (and one division): a forward
    that needs the weight more than once must read it once and keep it. In evaluation mode the estimate
    stays as it is.

    Returns:
        ``layer`` itself, its weight parametrized; the trained tensor is ``layer.parametrizations.weight.original``.
    """
    parametrizations.spectral_norm(layer, "weight", n_power_iterations=1)
    return layer
