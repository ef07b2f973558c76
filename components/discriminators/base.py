"""What every discriminator does."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from registry import DISCRIMINATORS


@DISCRIMINATORS.base
class Discriminator(nn.Module, ABC):
    """Scores videos: high for real ones, low for generated ones.

    ``clip`` before the ``*`` of the constructor is the stage's training window, ``view`` leads from it
    to the low-resolution clip (None in the base stage), ``classes`` is None when unconditional.
    """

    @abstractmethod
    def forward(self, x: Tensor, y: Tensor | None = None, x_l: Tensor | None = None) -> Tensor:
        """Score videos.

        Args:
            x: real or generated videos ``(B, T, C, H, W)``, values in [-1, 1].
            y: class indices ``(B,)``, int64; None when unconditional.
            x_l: the low-resolution videos that ``x`` belongs to, ``(B, T_l, C, H_l, W_l)``, from the data
                beside real ``x``, from the frozen sources beside generated ``x``.

        Returns:
            Tensor: scores ``(B, K)``, one per output (frame or timestep), unbounded.
        """

    def recomputable(self) -> list[nn.Module]:
        """The parts that can be computed again in the backward pass instead of keeping their activations.

        Parts that are called one after the other, each once per forward, with what a layer does besides computing
        done through :mod:`components.layers.recompute`. Default: none.
        """
        return []
