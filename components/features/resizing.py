"""Frames at the size that a feature network wants them."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from components.layers.folding import unfold_time


def resized(videos: Tensor, height: int, width: int, *, antialias: bool) -> Tensor:
    """Videos ``(B, T, C, H, W)`` with frames of ``height`` x ``width``, bilinear; pixels are areas, not points.

    Args:
        videos: at any size; at the one wanted they come back as they are.
        height: wanted.
        width: wanted.
        antialias: average over what a smaller frame's pixel covers, instead of picking from it.
    """
    if tuple(videos.shape[-2:]) == (height, width):
        return videos
    frames = F.interpolate(
        videos.flatten(0, 1), (height, width), mode="bilinear", align_corners=False, antialias=antialias
    )
    return unfold_time(frames, videos.shape[1])
