"""How much moves, and how fast: statistics of optical flow."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from components.metrics.base import Figure, Metric, MetricBatch, Side
from components.metrics.groups import GROUPS, JACKKNIFE, GroupedSums, jackknife
from components.metrics.psd import luma
from registry import METRICS, InputError

STEP, BINS = 0.05, 640
"""Pixels per frame that a bin of the histogram covers, and bins; what is faster counts in the last."""
QUANTILES = (0.5, 0.9, 0.99)


@METRICS.register
class Motion(Metric):
    """The 1-Wasserstein distance between the magnitudes of optical flow of real and of generated videos.

    In pixels per frame, over all pixels and frames: how far the mass of one histogram has to be moved to make the
    other. Means and quantiles of both stand in the figure's detail. The flow is Farnebäck's (2003), as OpenCV has it.
    """

    interval = JACKKNIFE

    def __init__(self) -> None:
        self._sums = GroupedSums()

    @property
    def names(self) -> tuple[str, ...]:
        """One."""
        return ("motion",)

    @property
    def min_frames(self) -> int:
        """Two: flow is from one frame to the next."""
        return 2

    def update(self, side: Side, batch: MetricBatch) -> None:
        """Add the videos' histograms; see :meth:`Metric.update`.

        Raises:
            InputError: the videos have one frame only.
        """
        if batch.videos.shape[1] < self.min_frames:
            raise InputError.of("videos", "one frame has no motion", f"at least {self.min_frames} frames")
        grey = luma(batch.videos).mul(255).round().clamp(0, 255).to("cpu", torch.uint8).numpy()
        self._sums.add(f"{side}/count", torch.ones(len(grey)), batch.numbers)
        magnitudes = [magnitude_of_flow(video) for video in grey]
        self._sums.add(f"{side}/mean", torch.tensor([float(each.mean()) for each in magnitudes]), batch.numbers)
        rows = torch.zeros(GROUPS, BINS, dtype=torch.float64)
        for number, each in zip(batch.numbers.tolist(), magnitudes, strict=True):
            places = np.minimum((each / STEP).astype(np.int64), BINS - 1).ravel()
            rows[number % GROUPS] += torch.from_numpy(np.bincount(places, minlength=BINS) / places.size)
        self._sums.add_rows(f"{side}/histogram", rows)

    def sums(self) -> dict[str, Tensor]:
        """Counts, means and histograms of each side and group."""
        return self._sums.state()

    def load_sums(self, sums: Mapping[str, Tensor]) -> None:
        """See :meth:`Metric.load_sums`."""
        self._sums.load(sums)

    def figures(self) -> list[Figure]:
        """The distance."""
        occupied = self._sums["real/count"] + self._sums["generated/count"] > 0
        value, interval = jackknife(self._distance, occupied)
        return [Figure(name="motion", value=value, interval=interval, detail={s: self._about(s) for s in self.sides})]

    def _histogram(self, side: Side, without: int | None) -> Tensor:
        return self._sums.total(f"{side}/histogram", without) / self._sums.total(f"{side}/count", without)

    def _distance(self, without: int | None) -> float:
        real, generated = (self._histogram(side, without).cumsum(0) for side in self.sides)
        return STEP * float((real - generated).abs().sum())

    def _about(self, side: Side) -> dict[str, float]:
        cumulated = self._histogram(side, None).cumsum(0)
        mean = float(self._sums.total(f"{side}/mean") / self._sums.total(f"{side}/count"))
        quantiles = {f"q{q:g}": STEP * (float((cumulated < q - 1e-12).sum()) + 0.5) for q in QUANTILES}
        return {"mean": mean, **quantiles}


def magnitude_of_flow(video: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Length of the flow vectors of grey frames uint8 ``(T, H, W)``: ``(T - 1, H, W)``, pixels per frame."""
    small = min(video.shape[1:])
    levels = max(1, small.bit_length() - 4)  # the smallest picture of the pyramid has 16 pixels or more
    window = 15 if small >= 64 else 7
    flows = [
        cv2.calcOpticalFlowFarneback(
            one, other, np.zeros((*one.shape, 2), np.float32), 0.5, levels, window, 3, 5, 1.1, 0
        )
        for one, other in pairwise(video)
    ]
    lengths: npt.NDArray[np.float64] = np.linalg.norm(np.stack(flows).astype(np.float64), axis=-1)
    return lengths
