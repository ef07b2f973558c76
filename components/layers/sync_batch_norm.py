"""Batch norm over the batch of all ranks, for networks that are not the project's own."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from components.layers.moments import moments
from components.layers.precision import widened
from components.layers.recompute import recomputing


class SyncBatchNorm(_BatchNorm):
    """``norm``, with the batch's statistics those of all ranks together.

    Unlike torch's class of this name it also runs on the CPU, has a second derivative, and can be computed again
    in the backward pass.

    Args:
        norm: batch norm of ``(N, C, ...)`` whose parameters, buffers, and modules that follow (an activation, in
            timm's) are taken over under their names.
    """

    def __init__(self, norm: _BatchNorm) -> None:
        super().__init__(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
        self.weight, self.bias = norm.weight, norm.bias
        for name, buffer in norm.named_buffers(recurse=False):
            self.register_buffer(name, buffer)
        for name, part in norm.named_children():
            self.add_module(name, part)
        self.train(norm.training)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise ``(N, C, ...)``."""
        y = self._normalised(x) if self.training else super().forward(x)
        for part in self.children():
            y = part(y)
        return y

    def _normalised(self, x: Tensor) -> Tensor:
        flat = widened(x).reshape(*x.shape[:2], -1)[:, None, :, :, None]
        mean, variance, count = (statistic.flatten() for statistic in moments(flat))
        if self.running_mean is not None and not recomputing():
            self._track(mean, variance, count)
        scale = torch.rsqrt(variance + self.eps)
        scale = scale if self.weight is None else scale * self.weight
        shift = -mean * scale
        shift = shift if self.bias is None else shift + self.bias
        spread = partial(torch.reshape, shape=(-1, *[1] * (x.dim() - 2)))
        return torch.addcmul(spread(shift), x, spread(scale)).to(x.dtype)

    @torch.no_grad()
    def _track(self, mean: Tensor, variance: Tensor, count: Tensor) -> None:
        assert self.running_mean is not None  # noqa: S101 - for the type checker: asked before the call
        assert self.running_var is not None  # noqa: S101
        assert self.num_batches_tracked is not None  # noqa: S101
        self.num_batches_tracked.add_(1)
        weight: Any = 1 / self.num_batches_tracked if self.momentum is None else self.momentum
        self.running_mean.add_((mean - self.running_mean) * weight)
        unbiased = variance * (count / (count - 1).clamp(min=1))
        self.running_var.add_((unbiased - self.running_var) * weight)

    def _check_input_dim(self, input: Tensor) -> None:  # noqa: A002 - torch's name
        """Any number of dimensions."""


def synchronize_batch_norms(network: nn.Module) -> None:
    """Replace every batch norm inside ``network`` by a :class:`SyncBatchNorm` of the same names."""
    for module in list(network.modules()):
        for name, part in module.named_children():
            if isinstance(part, _BatchNorm) and not isinstance(part, SyncBatchNorm):
                setattr(module, name, SyncBatchNorm(part))
