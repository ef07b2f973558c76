"""Networks that train on several ranks."""

from __future__ import annotations

import inspect
import warnings
from typing import Any

from torch import nn
from torch.nn.parallel import DistributedDataParallel


def reduced(network: nn.Module) -> DistributedDataParallel:
    """``network`` with gradients that are means over all ranks."""
    # Of 1x1 convolutions alone, whose strides say the same in two ways; it costs nothing.
    warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
    # Buffers are the same on all ranks by themselves: statistics are reduced, singular vectors follow the weights.
    renamed = "forward_sync_buffers" in inspect.signature(DistributedDataParallel).parameters  # torch 2.13
    options: dict[str, Any] = {"forward_sync_buffers" if renamed else "broadcast_buffers": False}
    return DistributedDataParallel(network, gradient_as_bucket_view=True, **options)
