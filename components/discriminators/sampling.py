"""Sampling of the frames that a per-frame discriminator looks at."""

from __future__ import annotations

import torch
from torch import Tensor

from components import ranks


# Compiled code has random numbers of its own: other frames would be drawn.
@torch.compiler.disable  # type: ignore[untyped-decorator]  # so in torch
def sample_frames(video: Tensor, count: int) -> Tensor:
    """``count`` different frames of each clip, drawn for each clip on its own from torch's global generator.

    Which frames a clip gets does not depend on how many ranks share the batch.

    Args:
        video: ``(B, T, C, H, W)``.
        count: how many; a clip that has no more frames is returned as it is.

    Returns:
        Tensor: ``(B, min(count, T), C, H, W)``, a clip's frames in random order.
    """
    batch, frames = video.shape[:2]
    if count >= frames:
        return video
    # The batch may be real clips and then generated ones, this process's share of each: row j of both together is
    # row `rank + j * world` of the whole batch laid out alike, as long as the shares are equally long.
    chosen = ranks.per_clip(torch.rand, batch, frames, device=video.device).argsort(dim=1)[:, :count]
    return video[torch.arange(batch, device=video.device).unsqueeze(1), chosen]
