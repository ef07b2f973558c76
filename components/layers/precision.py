"""What stays in full precision while autocast computes the rest in half."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

HALF = (torch.float16, torch.bfloat16)


def widened(x: Tensor) -> Tensor:
    """``x``, in float32 if it was in half precision."""
    return x.float() if x.dtype in HALF else x


def without_autocast(x: Tensor) -> AbstractContextManager[None]:
    """Operations inside, on the device of ``x``, compute in the types of what they are given."""
    device = x.device.type
    if not torch.amp.is_autocast_available(device) or not torch.is_autocast_enabled(device):
        return nullcontext()
    return torch.autocast(device, enabled=False)
