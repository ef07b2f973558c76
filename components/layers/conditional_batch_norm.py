"""Conditional batch normalisation with statistics of its own for every timestep (appendix A)."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto
from typing import Any

import torch
from torch import Tensor, nn

from components.layers.factories import linear
from components.layers.moments import moments
from components.layers.precision import widened
from components.layers.recompute import recomputing
from components.layers.timeline import Timeline
from registry import InputError


class Statistics(Enum):
    """What a norm normalises with."""

    TRACKED = auto()
    """The batch's mean and variance, which also go into the running statistics: training mode."""
    BATCH = auto()
    """The batch's mean and variance, and nothing is remembered."""
    RUNNING = auto()
    """The running statistics: evaluation mode."""


class ConditionalBatchNorm(nn.Module):
    """Normalise each channel of each frame, then scale and shift it by what the condition asks for.

    Mean and variance are those of a timestep, over the batch (of all ranks that share it) and
    space: "features are normalized with a per-frame mean and standard deviation". Gain and bias are linear in
    the condition, the gain around 1, both without a constant term of their own and spectrally normalised
    (reading of the paper: as in BigGAN, since the paper normalises all weights).

    The running statistics have a row for each timestep that training mode has seen. A new timestep starts
    from mean 0 and variance 1, as in :class:`torch.nn.BatchNorm2d`, whose updates these are, row by row:
    the variance that normalises is the biased one, the one remembered the unbiased one.

    Args:
        channels: channels of the video, C.
        condition_dim: length of the condition vector.
        eps: added to the variance.
        momentum: weight of a new batch in the running statistics; None for the mean over all batches.
    """

    running_mean: Tensor
    """``(frames, C)``."""
    running_var: Tensor
    """``(frames, C)``."""
    batches_tracked: Tensor
    """How many batches each row holds, ``(frames,)``, int64."""

    def __init__(self, channels: int, condition_dim: int, eps: float = 1e-5, momentum: float | None = 0.1) -> None:
        super().__init__()
        self.channels = channels
        self.eps = eps
        self.momentum = momentum
        self.statistics: Statistics | None = None
        """What to normalise with; None follows the module's mode. Set by the contexts of ``standing_statistics``."""
        self.timeline: Timeline | None = None
        """Which running statistics belong to which frame; None has the t-th row belong to frame t."""
        self.gain = linear(condition_dim, channels, bias=False)
        self.bias = linear(condition_dim, channels, bias=False)
        self.register_buffer("running_mean", torch.zeros(0, channels))
        self.register_buffer("running_var", torch.ones(0, channels))
        self.register_buffer("batches_tracked", torch.zeros(0, dtype=torch.int64))

    @property
    def frames(self) -> int:
        """For how many timesteps there are running statistics."""
        return self.running_mean.shape[0]

    def reset_statistics(self, frames: int) -> None:
        """Forget the running statistics and have ``frames`` fresh rows."""
        self.running_mean = self.running_mean.new_zeros(frames, self.channels)
        self.running_var = self.running_var.new_ones(frames, self.channels)
        self.batches_tracked = self.batches_tracked.new_zeros(frames)

    def reserve_statistics(self, frames: int) -> None:
        """Add fresh rows up to ``frames`` timesteps; does nothing where there are as many."""
        missing = frames - self.frames
        if missing > 0:
            means, variances, counts = self.running_mean, self.running_var, self.batches_tracked
            self.running_mean = torch.cat([means, means.new_zeros(missing, self.channels)])
            self.running_var = torch.cat([variances, variances.new_ones(missing, self.channels)])
            self.batches_tracked = torch.cat([counts, counts.new_zeros(missing)])

    def forward(self, x: Tensor, condition: Tensor, start: int = 0) -> Tensor:
        """Normalise videos.

        Args:
            x: ``(B, T, C, H, W)``.
            condition: ``(B, condition_dim)``.
            start: which frame of its video the first frame of ``x`` is.

        Returns:
            Tensor: shaped like ``x``.

        Raises:
            InputError: evaluation mode, and the running statistics do not reach to frame ``start + T``.
        """
        statistics = self.statistics or (Statistics.TRACKED if self.training else Statistics.RUNNING)
        if statistics is Statistics.RUNNING:
            mean, variance = self._running(start, start + x.shape[1])
        else:
            mean, variance, count = moments(widened(x))
            if statistics is Statistics.TRACKED and not recomputing():
                self._track(mean, variance, count, start)
        # One multiplication and one addition per value: (x - mean) / std * gain + bias = x * scale + shift.
        scale = torch.rsqrt(variance + self.eps) * (1 + self.gain(condition)).unsqueeze(1)
        shift = self.bias(condition).unsqueeze(1) - mean * scale
        return torch.addcmul(_over_space(shift), x, _over_space(scale)).to(x.dtype)

    def _running(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        if self.timeline is not None:
            rows = self.timeline.rows(start, stop).to(self.running_mean.device)
            return self.running_mean[rows], self.running_var[rows]
        if stop > self.frames:
            raise InputError.of(
                "statistics",
                f"the batch norm's running statistics are {self.frames} frames long, frame {stop - 1} was asked for",
                allowed="at most that many frames, or standing statistics estimated for the length",
            )
        return self.running_mean[start:stop], self.running_var[start:stop]

    @torch.no_grad()
    def _track(self, mean: Tensor, variance: Tensor, count: Tensor, start: int) -> None:
        stop = start + mean.shape[0]
        self.reserve_statistics(stop)
        self.batches_tracked[start:stop] += 1
        batches = self.batches_tracked[start:stop, None]
        unbiased = variance * (count / (count - 1).clamp(min=1))
        for running, value in ((self.running_mean[start:stop], mean), (self.running_var[start:stop], unbiased)):
            change = value - running
            running += change / batches if self.momentum is None else change * self.momentum

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any) -> None:
        """Statistics of any length load: theirs is taken over."""
        saved = state_dict.get(prefix + "running_mean")
        if saved is not None:
            self.reset_statistics(len(saved))
        super()._load_from_state_dict(state_dict, prefix, *args)

    def extra_repr(self) -> str:
        """What shows in a printed model."""
        return f"{self.channels}, eps={self.eps}, momentum={self.momentum}, frames={self.frames}"


def _over_space(values: Tensor) -> Tensor:
    return values[..., None, None]
