"""Time folded into the batch and back, for layers that treat frames one by one."""

from __future__ import annotations

import torch
from torch import Tensor


def fold_time(x: Tensor) -> Tensor:
    """``(B, T, C, H, W)`` to ``(B * T, C, H, W)``.

    A view where the memory allows one; a copy that is due (of an expanded or cropped video) comes out
    channels-last, the faster memory format of convolutions.
    """
    return x.permute(0, 1, 3, 4, 2).flatten(0, 1).permute(0, 3, 1, 2)


def unfold_time(x: Tensor, frames: int) -> Tensor:
    """``(B * T, C, H, W)`` to ``(B, T, C, H, W)``, with ``T = frames``."""
    return torch.unflatten(x, 0, (-1, frames))
