"""Time folded into the batch and back, for layers that treat frames one by one; and how videos lie in memory."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def fold_time(x: Tensor) -> Tensor:
    """``(B, T, C, H, W)`` to ``(B * T, C, H, W)``.

    A view where the memory allows one; a copy that is due (of an expanded or cropped video) lies in memory as the
    video does.
    """
    if lies_channels_last(x):
        return x.permute(0, 1, 3, 4, 2).flatten(0, 1).permute(0, 3, 1, 2)
    return x.flatten(0, 1)


def unfold_time(x: Tensor, frames: int) -> Tensor:
    """``(B * T, C, H, W)`` to ``(B, T, C, H, W)``, with ``T = frames``."""
    return torch.unflatten(x, 0, (-1, frames))


def stack_time(frames: Sequence[Tensor]) -> Tensor:
    """Frames ``(B, C, H, W)`` one after another, ``(B, T, C, H, W)``, in memory as they are."""
    if frames[0].is_contiguous(memory_format=torch.channels_last):
        return torch.stack([frame.permute(0, 2, 3, 1) for frame in frames], dim=1).permute(0, 1, 4, 2, 3)
    return torch.stack(list(frames), dim=1)


def lying(x: Tensor, *, channels_last: bool) -> Tensor:
    """The video ``(B, T, C, H, W)`` with channels last in memory, or as its shape says; a copy where it is not."""
    if channels_last:
        return x.permute(0, 1, 3, 4, 2).contiguous().permute(0, 1, 4, 2, 3)
    return x.contiguous()


def lies_channels_last(x: Tensor) -> bool:
    """Whether channels come last in the memory of the video ``(B, T, C, H, W)``."""
    return x.stride(2) == 1


def lay_channels_last(network: nn.Module, wanted: bool) -> None:
    """Have the videos in ``network`` lie in memory with channels last, or as their shape says.

    What is computed stays the same but for rounding. Channels-last is what convolutions are fastest with, those of
    few channels many times so on CPUs, and on GPUs those in half precision.
    """
    for module in network.modules():
        if isinstance(getattr(module, "channels_last", None), bool):
            setattr(module, "channels_last", wanted)  # noqa: B010  # to mypy a module's attributes are modules
