"""Mean and variance of each timestep and channel, over the batch of all ranks."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed

from components import ranks
from components.layers.recompute import once


def moments(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The statistics of the videos ``x``, ``(B, T, C, H, W)``, over batch and space.

    When ranks share the batch they are those of all ranks' videos together, which may differ in B, and
    gradients come back from all ranks' losses.

    Returns:
        (Tensor, Tensor, Tensor): mean ``(T, C)``, biased variance ``(T, C)``, and the count of values behind
        each of them ``(1,)``.
    """
    mean, variance, count = _Moments.apply(x)  # type: ignore[no-untyped-call,unused-ignore]  # so before torch 2.14
    return mean, variance, count


class _Moments(torch.autograd.Function):
    """With the derivative written out: autograd's goes over the video three times as often."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean, variance, count = once(_statistics, x)
        ctx.save_for_backward(x, mean, count)
        ctx.mark_non_differentiable(count)
        ctx.shared = ranks.world() > 1
        return mean, variance, count

    @staticmethod
    def backward(ctx: Any, mean_gradient: Tensor, variance_gradient: Tensor, _: Tensor) -> Tensor:
        x, mean, count = ctx.saved_tensors
        gradients = torch.stack([mean_gradient, variance_gradient])
        if ctx.shared:
            gradients = _SumOverRanks.apply(gradients)  # type: ignore[no-untyped-call,unused-ignore]  # so before torch 2.14
        mean_gradient, variance_gradient = gradients
        slope = 2 * variance_gradient / count
        constant = mean_gradient / count - mean * slope
        return torch.addcmul(constant[..., None, None], x, slope[..., None, None])


class _SumOverRanks(torch.autograd.Function):
    """The sum of all ranks' tensors; its gradient is the sum of all ranks' gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total: Tensor = _SumOverRanks.apply(gradient)  # type: ignore[no-untyped-call,unused-ignore]  # so before torch 2.14
        return total


def _statistics(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    count = x.new_full((1,), x.shape[0] * x.shape[3] * x.shape[4])
    mean = _sum(x) / count.clamp(min=1)  # a rank may have no video at all
    # About the mean, in a second pass: the sums of squares' difference would lose digits.
    squares = _sum((x - mean[..., None, None]).square_())
    if ranks.world() > 1:
        mean, squares, count = _of_all_ranks(mean, squares, count)
    return mean, squares / count, count


def _of_all_ranks(mean: Tensor, squares: Tensor, count: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The moments of all ranks' videos from each rank's own, in one reduction: waiting is what a reduction costs.

    Sums of squares about 0 come back to the mean without losing digits that the result has, since they are taken in
    float64 (Chan, Golub and LeVeque, 1983).
    """
    n, m = count.double(), mean.double()
    sums = torch.cat([(n * m).flatten(), (squares + n * m.square()).flatten(), n])
    distributed.all_reduce(sums)
    total = sums[-1:]
    first, second = sums[:-1].view(2, *mean.shape)
    overall = first / total
    about = (second - first * overall).clamp_(min=0)
    return overall.to(mean.dtype), about.to(mean.dtype), total.to(count.dtype)


def _sum(x: Tensor) -> Tensor:
    """Over batch and space; in two steps, which is many times faster when channels come last in memory."""
    return x.sum((3, 4)).sum(0)
