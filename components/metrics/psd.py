"""The power spectrum density of frames (appendix E): whether videos grow blurrier over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from components.metrics.base import Figure, Metric, MetricBatch, Side
from components.metrics.groups import GROUPS, JACKKNIFE, jackknife
from registry import METRICS, InputError, Positive

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue (ITU-R BT.601)."""
LEAST = 1 / (12 * 255**2)
"""Added to powers before they are compared: that of the noise of rounding to 8 bits, below which nothing is known."""
SETS = 3
"""A video belongs to the set ``number % SETS``; the paper has three sets of 600."""
ROWS = SETS * GROUPS
"""Sums are kept by ``number % ROWS``, which tells both a video's set and its group."""


def luma(frames: Tensor) -> Tensor:
    """Brightness in [0, 1] of frames ``(..., C, H, W)`` with values in [-1, 1]: ``(..., H, W)``, float64."""
    frames = (frames.double() + 1) / 2
    if frames.shape[-3] != len(LUMA):
        return frames[..., 0, :, :]
    weights = torch.tensor(LUMA, dtype=torch.float64, device=frames.device)
    return torch.einsum("...chw,c->...hw", frames, weights)


def radial_psd(fields: Tensor) -> Tensor:
    """The radially averaged power spectrum, as pysteps' ``rapsd`` has it.

    ``|fftshift(fft2(x))|² / (H W)``, averaged over the frequencies whose distance from zero rounds to r, for every
    r from 0 to below half the longer side (up to it where that is odd). No window.

    Args:
        fields: ``(..., H, W)``.

    Returns:
        Tensor: ``(..., R)``, float64.
    """
    height, width = fields.shape[-2:]
    power = torch.fft.fftshift(torch.fft.fft2(fields.double()), dim=(-2, -1)).abs().square() / (height * width)
    y, x = (torch.arange(side, dtype=torch.float64, device=fields.device) - side // 2 for side in (height, width))
    radius = (y[:, None].square() + x.square()).sqrt().round().long()
    bins = (max(height, width) + 1) // 2
    inside = radius < bins
    counts = torch.bincount(radius[inside], minlength=bins)
    sums = torch.zeros(*fields.shape[:-2], bins, dtype=torch.float64, device=fields.device)
    return sums.index_add_(-1, radius[inside], power[..., inside]) / counts


def frequencies(height: int, width: int) -> list[float]:
    """The frequency of each bin of :func:`radial_psd`, in cycles per pixel."""
    side = max(height, width)
    return [radius / side for radius in range((side + 1) // 2)]


@METRICS.register
class PSD(Metric):
    """Radially averaged power spectra of the luma of single frames, real beside generated (appendix E).

    A figure for each frame: the mean over all frequencies but zero of how far the generated spectrum is from the real
    one, in dB either way; the spectra themselves, with their standard deviation over three sets of videos, stand in
    its detail.

    Args:
        frames: which frames, counted from 1. Those that the videos do not have are left out, which the figures say.

    Raises:
        InputError: on ``frames``, when there is none.
    """

    interval = JACKKNIFE

    def __init__(self, *, frames: tuple[Positive, ...] = (1, 10, 25, 50)) -> None:
        if not frames:
            raise InputError.of("frames", "names no frame", "numbers of frames, counted from 1")
        self.frames = tuple(sorted(set(frames)))
        self._state: dict[str, Tensor] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """One for each frame."""
        return tuple(f"psd/{frame}" for frame in self.frames)

    def names_in(self, frames: int) -> tuple[str, ...]:
        """One for each of the frames that the videos have."""
        return tuple(f"psd/{frame}" for frame in self.frames if frame <= frames)

    @property
    def min_frames(self) -> int:
        """As far as the first of its frames."""
        return self.frames[0]

    def update(self, side: Side, batch: MetricBatch) -> None:
        """Add the frames' spectra; see :meth:`Metric.update`."""
        shown = [frame for frame in self.frames if frame <= batch.videos.shape[1]]
        if not shown:
            raise InputError.of(
                "frames", f"the videos have {batch.videos.shape[1]} frames, none of {list(self.frames)}", "earlier ones"
            )
        chosen = batch.videos[:, [frame - 1 for frame in shown]]
        spectra = radial_psd(luma(chosen)).cpu()
        rows = batch.numbers.cpu() % ROWS
        size = torch.tensor(batch.videos.shape[-2:], dtype=torch.float64)
        for name, value in {
            f"{side}/count": torch.bincount(rows, minlength=ROWS).double(),
            f"{side}/sum": torch.zeros(ROWS, *spectra.shape[1:], dtype=torch.float64).index_add_(0, rows, spectra),
            f"{side}/size": size * len(batch.videos),
        }.items():
            self._state[name] = self._state[name] + value if name in self._state else value

    def sums(self) -> dict[str, Tensor]:
        """Counts and sums of spectra, of each side, set and group."""
        return dict(self._state)

    def load_sums(self, sums: Mapping[str, Tensor]) -> None:
        """See :meth:`Metric.load_sums`."""
        self._state = dict(sums)

    def figures(self) -> list[Figure]:
        """A figure for each frame."""
        shown = self._state["real/sum"].shape[1]
        size = self._state["real/size"] / self._state["real/count"].sum()
        return [self._figure(place, list(map(round, size.tolist())), shown) for place in range(shown)]

    def _figure(self, place: int, size: Sequence[int], shown: int) -> Figure:
        def distance(without: int | None) -> float:
            real, generated = (self._mean(side, without)[place, 1:] + LEAST for side in self.sides)
            return float(10 * torch.log10(generated / real).abs().mean())

        counts = self._state["real/count"] + self._state["generated/count"]
        value, interval = jackknife(distance, counts.reshape(SETS, GROUPS).sum(0) > 0)
        detail: dict[str, Any] = {"frame": self.frames[place], "frequency": frequencies(*size)}
        for side in self.sides:
            detail[side] = self._mean(side)[place].tolist()
            detail[f"{side}_std"] = self._deviation(side)[place].tolist()
        detail["left_out"] = list(self.frames[shown:])
        return Figure(name="psd", value=value, interval=interval, detail=detail)

    def _mean(self, side: Side, without: int | None = None) -> Tensor:
        """Mean spectra of all videos, or of all but a group's: ``(frames, R)``."""
        kept = torch.arange(ROWS) % GROUPS != (-1 if without is None else without)
        return self._state[f"{side}/sum"][kept].sum(0) / self._state[f"{side}/count"][kept].sum()

    def _deviation(self, side: Side) -> Tensor:
        """Standard deviation over the sets that have videos: ``(frames, R)``."""
        by_set = [torch.arange(ROWS) % SETS == number for number in range(SETS)]
        sums, counts = self._state[f"{side}/sum"], self._state[f"{side}/count"]
        means = [sums[own].sum(0) / counts[own].sum() for own in by_set if counts[own].sum() > 0]
        return torch.stack(means).std(0) if len(means) > 1 else torch.zeros_like(means[0])
