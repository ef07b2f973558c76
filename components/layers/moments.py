"""Mean and variance of each timestep and channel, over the batch of all ranks."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed
from torch.autograd.function import once_differentiable


def moments(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The statistics of the videos ``x``, ``(B, T, C, H, W)``, over batch and space.

    When torch.distributed is initialised they are those of all ranks' videos together, which may differ in
    B, and gradients come back from all ranks' losses. Differentiable once.

    Returns:
        (Tensor, Tensor, Tensor): mean ``(T, C)``, biased variance ``(T, C)``, and the count of values behind
        each of them ``(1,)``.
    """
    mean, variance, count = _Moments.apply(x)  # type: ignore[no-untyped-call]  # so in torch
    return mean, variance, count


class _Moments(torch.autograd.Function):
    """With the derivative written out: autograd's goes over the video three times as often."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        count = x.new_full((1,), x.shape[0] * x.shape[3] * x.shape[4])
        sums = _sum_over_ranks(torch.cat([_sum(x).flatten(), count]))
        count = sums[-1:]
        mean = (sums[:-1] / count).view(x.shape[1:3])
        # About the mean, in a second reduction: the sums of squares' difference would lose digits.
        squares = (x - mean[..., None, None]).square_()
        variance = _sum_over_ranks(_sum(squares)) / count
        ctx.save_for_backward(x, mean, count)
        ctx.mark_non_differentiable(count)
        return mean, variance, count

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, mean_gradient: Tensor, variance_gradient: Tensor, _: Tensor) -> Tensor:
        x, mean, count = ctx.saved_tensors
        mean_gradient, variance_gradient = _sum_over_ranks(torch.stack([mean_gradient, variance_gradient]))
        slope = 2 * variance_gradient / count
        constant = mean_gradient / count - mean * slope
        return torch.addcmul(constant[..., None, None], x, slope[..., None, None])


def _sum(x: Tensor) -> Tensor:
    """Over batch and space; in two steps, which is many times faster when channels come last in memory."""
    return x.sum((3, 4)).sum(0)


def _sum_over_ranks(x: Tensor) -> Tensor:
    """The sum of all ranks' ``x``, which is changed."""
    if distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1:
        distributed.all_reduce(x)
    return x
