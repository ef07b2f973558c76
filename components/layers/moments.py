"""Mean and variance of each timestep and channel, over the batch of all ranks."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed

BATCH_AND_SPACE = (0, 3, 4)


def moments(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The statistics of the videos ``x``, ``(B, T, C, H, W)``, over batch and space.

    When torch.distributed is initialised they are those of all ranks' videos together, which may differ in
    B, and gradients flow back to all ranks. A second reduction for the variance, about the common mean,
    rather than one for the sums of squares: their difference would lose digits.

    Returns:
        (Tensor, Tensor, Tensor): mean ``(T, C)``, biased variance ``(T, C)``, and the count of values behind
        each of them ``(1,)``.
    """
    count = x.new_full((1,), x.shape[0] * x.shape[3] * x.shape[4])
    if not (distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1):
        variance, mean = torch.var_mean(x, BATCH_AND_SPACE, correction=0)
        return mean, variance, count
    sums = sum_over_ranks(torch.cat([x.sum(BATCH_AND_SPACE).flatten(), count]))
    count = sums[-1:].detach()
    mean = (sums[:-1] / count).view(x.shape[1:3])
    squares = (x - mean[..., None, None]).square().sum(BATCH_AND_SPACE)
    return mean, sum_over_ranks(squares) / count, count


def sum_over_ranks(x: Tensor) -> Tensor:
    """The sum of all ranks' ``x``, through which the gradients of all ranks' losses come back."""
    result: Tensor = _SumOverRanks.apply(x)  # type: ignore[no-untyped-call]  # so in torch
    return result


class _SumOverRanks(torch.autograd.Function):
    """torch.distributed.nn's all_reduce does the same but is deprecated."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return sum_over_ranks(gradients[0])
