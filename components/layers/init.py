"""Orthogonal initialisation (appendix A: of all the weights)."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn

M = TypeVar("M", bound=nn.Module)

LAYERS_WITH_WEIGHTS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear, nn.Embedding)


@torch.no_grad()
def orthogonal_init_(module: M) -> M:
    """Make the weight of every convolution, linear map and embedding in ``module`` orthogonal, every bias zero.

    A weight of more than two dimensions counts as the matrix of its output channels against all the rest,
    as in spectral normalisation. Apply it before :func:`~components.layers.spectral_norm.spectral_norm`,
    whose estimate of the singular vectors starts from the weight it finds. Tensors on the meta device are
    left alone.

    Returns:
        ``module`` itself.
    """
    for layer in module.modules():
        if not isinstance(layer, LAYERS_WITH_WEIGHTS) or layer.weight.is_meta:
            continue
        nn.init.orthogonal_(layer.weight)
        if not isinstance(layer, nn.Embedding) and layer.bias is not None:
            nn.init.zeros_(layer.bias)
    return module
