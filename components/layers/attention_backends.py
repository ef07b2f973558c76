"""What computes softmax attention: torch, or xformers where that has shown itself to be faster.

On CUDA, with xformers installed, the first call of each kind (:class:`Kind`) times both, forward and, where there
will be one, backward, on the tensors at hand, and the process keeps to the faster one. For that moment it takes the
memory of one more layer's gradients. Everywhere else it is torch's
``scaled_dot_product_attention``: on CPUs, for which xformers has no operator; under ``torch.compile``, whose graphs
measure nothing; on tensors that hold no data; while a CUDA graph is captured; and where kernels must be
deterministic, since which one is faster is not.
"""

from __future__ import annotations

import functools
import statistics
import time
import warnings
from collections.abc import Callable, Mapping

import attrs
import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from registry.errors import one_line

Backend = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Softmax attention of queries, keys, values ``(N, length, M, C)`` along ``length``, to the same shape."""

RUNS = 5
"""Timed runs of each backend, in turns, after one that warms up."""


def backend(q: Tensor, k: Tensor, v: Tensor) -> Backend:
    """What is to compute the attention of these tensors."""
    if torch.compiler.is_compiling() or torch.are_deterministic_algorithms_enabled():
        return by_torch
    if not q.is_cuda or type(q) is not Tensor or torch.cuda.is_current_stream_capturing():
        return by_torch
    fastest = _fastest_on_cuda()
    return by_torch if fastest is None else fastest(q, k, v)


def by_torch(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Torch's own, which chooses among its kernels."""
    mixed = F.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2))
    return mixed.transpose(1, 2)


def written_out(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Torch's own as matrix products and a softmax: gradients have gradients, which no fused kernel's have."""
    with sdpa_kernel(SDPBackend.MATH):
        return by_torch(q, k, v)


@attrs.frozen
class Kind:
    """Calls for which the same backend is taken to be the fastest."""

    lines: int
    """How many lines, N times M, as a power of two."""
    length: int
    channels: int
    dtype: torch.dtype
    device: torch.device
    backward: bool
    """Whether gradients will be asked for."""

    @classmethod
    def of(cls, q: Tensor, k: Tensor, v: Tensor) -> Kind:
        """The kind of a call."""
        count, length, lines, channels = q.shape
        backward = torch.is_grad_enabled() and any(each.requires_grad for each in (q, k, v))
        return cls((count * lines).bit_length(), length, channels, q.dtype, q.device, backward)


class Fastest:
    """Chooses among backends by timing them, once for each :class:`Kind` of call.

    Args:
        backends: by name. The first must be able to do all; others may refuse by ``NotImplementedError`` or
            ``ValueError``, and are then left out for calls of that kind; so is one that the card refuses (a kernel that
            was built for others, or too little memory), with a warning.
        now: the time in seconds, when all that was asked of the device is done.
        runs: of each that are timed; the median counts.
    """

    def __init__(self, backends: Mapping[str, Backend], now: Callable[[], float], runs: int = RUNS) -> None:
        self._backends, self._now, self._runs = dict(backends), now, runs
        self.chosen: dict[Kind, str] = {}
        """The fastest so far."""

    def __call__(self, q: Tensor, k: Tensor, v: Tensor) -> Backend:
        """The fastest for calls of this kind."""
        kind = Kind.of(q, k, v)
        if kind not in self.chosen:
            self.chosen[kind] = self._fastest((q, k, v), kind.backward)
        return self._backends[self.chosen[kind]]

    def _fastest(self, tensors: tuple[Tensor, ...], backward: bool) -> str:
        first, *others = self._backends
        able = [first, *(name for name in others if self._can(name, tensors, backward))]
        if len(able) == 1:
            return first
        run(self._backends[first], tensors, backward)  # warms up, as the others have
        seconds: dict[str, list[float]] = {name: [] for name in able}
        for _ in range(self._runs):
            for name in able:
                began = self._now()
                run(self._backends[name], tensors, backward)
                seconds[name].append(self._now() - began)
        return min(able, key=lambda name: statistics.median(seconds[name]))

    def _can(self, name: str, tensors: tuple[Tensor, ...], backward: bool) -> bool:
        try:
            run(self._backends[name], tensors, backward)
        except (NotImplementedError, ValueError):  # xformers' ways of saying that it has no kernel for these
            return False
        except (torch.OutOfMemoryError, torch.AcceleratorError) as error:
            warnings.warn(f"attention by {name} is left out: {one_line(error)}", stacklevel=2)
            return False
        return True


def run(compute: Backend, tensors: tuple[Tensor, ...], backward: bool) -> None:
    """Compute and forget, unseen by whoever records the calls around this one."""
    # Activation checkpointing counts what is saved for the backward pass: hooks of our own keep it from seeing this.
    with torch.set_grad_enabled(backward), saved_tensors_hooks(lambda tensor: tensor, lambda tensor: tensor):
        q, k, v = (tensor.detach().requires_grad_(backward) for tensor in tensors)
        mixed = compute(q, k, v)
        if backward:
            torch.autograd.grad(mixed, (q, k, v), torch.ones_like(mixed))


@functools.cache
def _fastest_on_cuda() -> Fastest | None:
    """Of torch and xformers; None without xformers. Imported here: without a GPU, importing it warns."""
    try:
        from xformers import ops
    except ImportError:
        return None
    return Fastest({"torch": by_torch, "xformers": ops.memory_efficient_attention}, _when_done)


def _when_done() -> float:
    torch.cuda.synchronize()
    return time.perf_counter()
