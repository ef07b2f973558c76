"""Which known timestep stands for which, in a video of another length than the statistics were estimated for."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Timeline:
    """The timesteps of a video of ``frames`` frames, each with one of ``known`` timesteps that stands for it.

    A video begins as the known one does and ends as that does, for the ``ending`` frames that feel its end. In
    between a longer one stays at the last timestep before the ending; a shorter one leaves timesteps out. (The paper
    estimates statistics at the length in question, appendix A; this is for lengths that nobody estimated them at.)
    """

    known: int
    """Timesteps that there are statistics of."""
    frames: int
    """Frames of the video."""
    ending: int = 0
    """How many frames before its end a video feels it; no more than half of the known ones count."""

    def rows(self, start: int, stop: int) -> Tensor:
        """The known timestep for each of the frames ``start <= t < stop``, int64 ``(stop - start,)``."""
        ending = min(self.ending, self.known // 2)
        times = torch.arange(start, stop)
        from_end = self.frames - times
        rows = times.clamp(max=self.known - ending - 1)
        return torch.where(from_end <= ending, self.known - from_end, rows)

    def __str__(self) -> str:
        if self.frames == self.known:
            return f"of {self.known} frames"
        middle = self.known - min(self.ending, self.known // 2)
        if self.frames < self.known:
            return f"of {self.known} frames, for {self.frames} (those before the last {self.known - middle} cut)"
        return f"of {self.known} frames, for {self.frames} (frame {middle} held)"
