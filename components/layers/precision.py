"""What stays in full precision while autocast computes the rest in half."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

HALF = (torch.float16, torch.bfloat16)


def widened(x: Tensor) -> Tensor:
    """``x``, in float32 if it was in half precision."""
    return x.float() if x.dtype in HALF else x


def miscomputed(video: Tensor) -> bool:
    """Whether 3x3x3 convolutions of ``video``, ``(B, C, T, H, W)``, would have wrong gradients under autocast.

    oneDNN's (torch 2.13, AMD EPYC with avx512_bf16) gives noise for the weights' when bfloat16 videos have two frames.
    """
    if video.device.type != "cpu" or video.shape[2] != 2:
        return False
    return video.dtype == torch.bfloat16 or (
        torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.bfloat16
    )


def without_autocast(x: Tensor) -> AbstractContextManager[None]:
    """Operations inside, on the device of ``x``, compute in the types of what they are given."""
    device = x.device.type
    # Meta tensors have none, and asking for it fails. torch.amp.is_autocast_available would know, but torch 2.11 breaks
    # the graph where it is asked for, at every weight.
    if device == "meta" or not torch.is_autocast_enabled(device):
        return nullcontext()
    return torch.autocast(device, enabled=False)
