"""Between frames as they are stored and read, uint8, and videos as networks take and make them, in [-1, 1]."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

STEP = 1 / 127.5
"""From one stored value to the next. Storing a value in [-1, 1] moves it by half of that, 1/255, at most."""


def videos_of(frames: Tensor, device: torch.device) -> Tensor:
    """Videos ``(B, T, C, H, W)``, values in [-1, 1], on ``device``, of frames, uint8 ``(B, T, H, W, C)``."""
    return frames.to(device, non_blocking=True).permute(0, 1, 4, 2, 3).div(127.5).sub_(1.0)


def frames_of(videos: Tensor) -> npt.NDArray[np.uint8]:
    """Frames, uint8 ``(B, T, H, W, C)``, of videos ``(B, T, C, H, W)``: values in [-1, 1], each to its nearest."""
    scaled = videos.detach().float().clamp(-1, 1).add(1).mul(127.5).round()
    frames: npt.NDArray[np.uint8] = scaled.permute(0, 1, 3, 4, 2).cpu().numpy().astype(np.uint8)
    return frames
