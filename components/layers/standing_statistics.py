"""What the conditional batch norms of a network normalise with, for as long as a context lasts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from torch import nn

from components.layers.conditional_batch_norm import ConditionalBatchNorm, Statistics
from components.layers.timeline import Timeline


def conditional_batch_norms(module: nn.Module) -> list[ConditionalBatchNorm]:
    """The norms in ``module``."""
    return [norm for norm in module.modules() if isinstance(norm, ConditionalBatchNorm)]


def reserve_statistics(module: nn.Module, frames: int) -> None:
    """Give every norm in ``module`` the rows for ``frames`` timesteps that its first batch would give it.

    Training then changes no tensor's shape, which would have :func:`torch.compile` compile a second time, and which
    it refuses where activations are computed again.
    """
    for norm in conditional_batch_norms(module):
        norm.reserve_statistics(frames)


def follow(module: nn.Module, timeline: Timeline | None) -> None:
    """Have every norm in ``module`` take its running statistics by ``timeline``; None takes frame t's for frame t."""
    for norm in conditional_batch_norms(module):
        norm.timeline = timeline


@contextmanager
def batch_statistics(module: nn.Module) -> Iterator[None]:
    """Every norm in ``module`` normalises with the batch at hand and remembers nothing.

    For samples amid training, when the running statistics of an unrolled length are not there yet.
    """
    with _statistics(module, Statistics.BATCH):
        yield


@contextmanager
def standing_statistics(module: nn.Module, frames: int) -> Iterator[None]:
    """Estimate every norm's running statistics of ``frames`` timesteps anew (appendix A).

    Inside, each forward of ``module`` is one of the "dummy passes" (200 in the paper)::

        with torch.no_grad(), standing_statistics(generator, 50):
            for _ in range(200):
                generator(z(), y(), x_l())

    The statistics are the mean over all passes. All else is in evaluation mode, so that the estimates of the
    singular values stay as they are. Afterwards all modes are as before; the new statistics stay.
    """
    norms = conditional_batch_norms(module)
    momenta = [norm.momentum for norm in norms]
    modes = {part: part.training for part in module.modules()}
    for norm in norms:
        norm.reset_statistics(frames)
        norm.momentum = None
    module.eval()
    try:
        with _statistics(module, Statistics.TRACKED):
            yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        for part, training in modes.items():
            part.training = training


@contextmanager
def _statistics(module: nn.Module, statistics: Statistics) -> Iterator[None]:
    with ExitStack() as restore:
        for norm in conditional_batch_norms(module):
            restore.callback(setattr, norm, "statistics", norm.statistics)
            norm.statistics = statistics
        yield
