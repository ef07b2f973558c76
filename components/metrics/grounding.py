"""Whether a stage's videos are upsampled versions of what they were made of (sections 3.3 and 5.3)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

import torch
from kornia.metrics import ssim
from torch import Tensor

from components.metrics.base import Figure, Metric, MetricBatch, Side
from components.metrics.groups import JACKKNIFE, GroupedSums, jackknife
from registry import METRICS, InputError

LEAST_ERROR = 1e-10
"""A smaller mean squared error counts as this much: 106 dB."""
WINDOW = 11
"""Pixels a side of SSIM's Gaussian window (Wang et al., 2004), or what an odd window of the frames' size has."""


@METRICS.register
class Grounding(Metric):
    """PSNR and SSIM between the view of generated videos and the x̂_l that they were made of.

    The matching discriminator is there for that; the paper argues with it and shows pictures. PSNR is that of each
    video, in dB for a range of 2, averaged over videos; SSIM that of each frame.
    """

    sides: ClassVar[tuple[Side, ...]] = ("generated",)
    needs_low = True
    interval = JACKKNIFE

    def __init__(self) -> None:
        self._sums = GroupedSums()

    @property
    def names(self) -> tuple[str, ...]:
        """Two."""
        return ("grounding_psnr", "grounding_ssim")

    def update(self, side: Side, batch: MetricBatch) -> None:
        """Compare the videos' views with what they were made of; real videos are passed over.

        Raises:
            InputError: there is nothing that the videos were made of, or it has another shape than their view.
        """
        if side == "real":
            return
        if batch.low is None or batch.viewed is None:
            raise InputError.of("low", "Grounding needs what the videos were made of: a base stage's come of nothing")
        if batch.low.shape != batch.viewed.shape:
            raise InputError.of(
                "viewed", f"has shape {tuple(batch.viewed.shape)}", f"that of low, {tuple(batch.low.shape)}"
            )
        error = (batch.viewed.double() - batch.low.double()).square().flatten(1).mean(1)
        psnr = 10 * torch.log10(4 / error.clamp(min=LEAST_ERROR))
        self._sums.add("count", torch.ones(len(error)), batch.numbers)
        self._sums.add("mse", error, batch.numbers)
        self._sums.add("psnr", psnr, batch.numbers)
        self._sums.add("ssim", _ssim(batch.viewed, batch.low), batch.numbers)

    def sums(self) -> dict[str, Tensor]:
        """Counts, errors, PSNRs and SSIMs of each group."""
        return self._sums.state()

    def load_sums(self, sums: Mapping[str, Tensor]) -> None:
        """See :meth:`Metric.load_sums`."""
        self._sums.load(sums)

    def figures(self) -> list[Figure]:
        """Mean PSNR and mean SSIM."""
        detail = {"mse": self._mean("mse", None), "psnr_at_most": 10 * math.log10(4 / LEAST_ERROR)}
        return [
            Figure(name=f"grounding_{name}", value=value, interval=interval, detail=detail)
            for name in ("psnr", "ssim")
            for value, interval in [jackknife(lambda without, name=name: self._mean(name, without), self._occupied)]  # type: ignore[misc]  # a default binds the name
        ]

    @property
    def _occupied(self) -> Tensor:
        return self._sums["count"] > 0

    def _mean(self, name: str, without: int | None) -> float:
        return float(self._sums.total(name, without) / self._sums.total("count", without))


def _ssim(videos: Tensor, others: Tensor) -> Tensor:
    """The mean SSIM of each video's frames, ``(B,)``."""
    least = min(videos.shape[-2:])
    window = min(WINDOW, least - 1 + least % 2)
    one, other = ((video.flatten(0, 1).float() + 1) / 2 for video in (videos, others))
    if window < 3:  # frames of a pixel or two have no surroundings to compare
        raise InputError.of("low", f"frames of {least} pixels are too small for SSIM", "3 pixels a side")
    each: Tensor = ssim(one, other, window).mean(dim=(1, 2, 3))
    return each.reshape(videos.shape[:2]).mean(1)
