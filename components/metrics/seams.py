"""Whether the borders between windows show in unrolled videos."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from components.metrics.base import Figure, Metric, MetricBatch, Side
from components.metrics.groups import JACKKNIFE, GroupedSums, jackknife
from registry import METRICS, InputError

LEAST = 1e-6
"""Added to both differences, so that still videos have a ratio, 1."""


@METRICS.register
class Seams(Metric):
    """Mean absolute difference from frame to frame across window borders, over that inside of windows.

    1 where borders do not show. x_l is repeated in time, so frames may differ more whenever a new one of x_l begins;
    borders always lie there, and are compared with the two such places next to them. The real videos' ratio, taken at
    the same places, stands in the figure's detail.

    Args:
        window: frames in a training window of the stage.
        time: how many frames of the stage one frame of x_l stands for.
    """

    interval = JACKKNIFE

    def __init__(self, window: int, time: int) -> None:
        if window // time < 2:
            raise InputError.of("window", f"{window} frames hold no place to compare with", f"at least {2 * time}")
        self.window, self.time = window, time
        self._sums = GroupedSums()

    @property
    def names(self) -> tuple[str, ...]:
        """One."""
        return ("seams",)

    @property
    def min_frames(self) -> int:
        """One more than a window: the first border."""
        return self.window + 1

    def update(self, side: Side, batch: MetricBatch) -> None:
        """Add the differences across borders and inside; see :meth:`Metric.update`.

        Raises:
            InputError: the videos end before the first border.
        """
        frames = batch.videos.shape[1]
        if frames < self.min_frames:
            raise InputError.of("videos", f"{frames} frames have no window border", f"at least {self.min_frames}")
        differences = (batch.videos[:, 1:] - batch.videos[:, :-1]).abs().double().flatten(2).mean(2)
        into = torch.arange(1, frames, device=differences.device)
        border = into % self.window == 0
        before, after = into + self.time, into - self.time  # its neighbours: elsewhere videos may move more, or less
        inside = ((before % self.window == 0) | (after % self.window == 0) & (after >= self.window)) & ~border
        self._sums.add(f"{side}/count", torch.ones(len(differences)), batch.numbers)
        self._sums.add(f"{side}/border", differences[:, border].mean(1), batch.numbers)
        self._sums.add(f"{side}/inside", differences[:, inside].mean(1), batch.numbers)

    def sums(self) -> dict[str, Tensor]:
        """Counts and differences of each side and group."""
        return self._sums.state()

    def load_sums(self, sums: Mapping[str, Tensor]) -> None:
        """See :meth:`Metric.load_sums`."""
        self._sums.load(sums)

    def figures(self) -> list[Figure]:
        """The generated videos' ratio."""
        value, interval = jackknife(
            lambda without: self._ratio("generated", without), self._sums["generated/count"] > 0
        )
        detail: dict[str, float] = {"window": self.window, "time": self.time}
        if "real/count" in self._sums:
            detail["real"] = self._ratio("real", None)
        return [Figure(name="seams", value=value, interval=interval, detail=detail)]

    def _ratio(self, side: Side, without: int | None) -> float:
        count = self._sums.total(f"{side}/count", without)
        border, inside = (self._sums.total(f"{side}/{where}", without) / count for where in ("border", "inside"))
        return float((border + LEAST) / (inside + LEAST))
