"""Noise and class to the condition vector."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from components.checks import check_classes, check_shape
from components.layers import orthogonal_init_


class Conditioning(nn.Module):
    """The condition vector: z, or ``[z; class embedding]``.

    The embedding is not spectrally normalised (reading of the paper: as in BigGAN), so that it can grow: it
    starts orthogonal, with vectors many times shorter than z.

    Args:
        classes: number of classes; None when unconditional.
        noise_dim: length of z.
        embedding_dim: length of a class's embedding.
    """

    def __init__(self, classes: int | None, noise_dim: int, embedding_dim: int) -> None:
        super().__init__()
        self.classes = classes
        self.noise_dim = noise_dim
        self.embedding = None if classes is None else orthogonal_init_(nn.Embedding(classes, embedding_dim))
        self.dim = noise_dim if classes is None else noise_dim + embedding_dim
        """Length of the condition vector."""

    def forward(self, z: Tensor, y: Tensor | None) -> Tensor:
        """The condition vector ``(B, dim)``.

        Args:
            z: noise ``(B, noise_dim)``.
            y: class indices ``(B,)``, int64; None when unconditional.

        Raises:
            InputError: a wrong shape, or a class where there should be none, or none where there should be one.
        """
        check_shape("z", z, "B", self.noise_dim)
        check_classes(y, self.classes, len(z))
        return z if self.embedding is None else torch.cat([z, self.embedding(y)], dim=1)
