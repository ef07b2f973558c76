"""Activation checkpointing (Chen et al., 2016): parts of a network run again in the backward pass.

What such a part computes is not kept for the backward pass but computed again there, from the part's input. The
second run must be the first one's image in all that it computes, and must leave no trace: batch norms track a
batch once, singular vectors move once, and ranks exchange moments once. So whatever a layer does besides computing
goes through :func:`once`, or asks :func:`recomputing`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

Tensors = tuple[Tensor, ...]


class Recomputable(Protocol):
    """A network that says which of its parts can be computed again."""

    def recomputable(self) -> list[nn.Module]:
        """The parts, called one after the other, so that what a part keeps for itself is freed before the next."""


def recompute(network: Recomputable) -> None:
    """Have the parts that ``network`` names computed again in the backward pass instead of keeping their activations.

    Parameters, buffers and their names stay as they are, and so do results, gradients, and all that the network
    remembers. Where no gradients are recorded nothing is computed twice. The backward pass has to come before
    parameters change, are frozen or unfrozen. A network may be compiled as well (``network.compile()``), after this,
    if its batch norms' rows are reserved (:func:`~components.layers.standing_statistics.reserve_statistics`).
    """
    for part in network.recomputable():
        part.forward = partial(_checkpointed, part.forward)


def once(compute: Callable[..., Tensors], *arguments: Any) -> Tensors:
    """What ``compute(*arguments)`` gives; in a second run what it gave in the first, without a call.

    Args:
        compute: called in each first run, outside of autograd: its results carry no gradient.
        arguments: of ``compute``.
    """
    # A part may lie inside another: the innermost tape that knows the results gives them.
    take = partial(compute, *arguments)
    for tape in _tapes:
        take = partial(tape.take, take)
    return take()


def recomputing() -> bool:
    """Whether this is a second run, whose traces the first one has left already."""
    return any(tape.playing for tape in _tapes)


class _Tape:
    """The results of one part's calls of :func:`once`, in their order."""

    def __init__(self) -> None:
        self.results: list[Tensors] = []
        self.position: int | None = None
        """The next to be played; None while recording."""

    @property
    def playing(self) -> bool:
        return self.position is not None

    def take(self, compute: Callable[[], Tensors]) -> Tensors:
        if self.position is None:
            # Detached, here and below: with the graph that the results become part of, the tape, which
            # that graph holds, would hold itself.
            self.results.append(tuple(tensor.detach() for tensor in compute()))
            return tuple(tensor.detach() for tensor in self.results[-1])
        self.position += 1
        return tuple(tensor.detach() for tensor in self.results[self.position - 1])

    @contextmanager
    def running(self, position: int | None) -> Iterator[None]:
        """Recording (None), or playing from ``position`` on."""
        self.position = position
        _tapes.append(self)
        try:
            yield
        finally:
            _tapes.remove(self)


_tapes: list[_Tape] = []
"""Of the parts being run, the outermost first."""


class _Playing:
    """Plays a tape from its start each time it is entered: torch enters it for every backward pass."""

    def __init__(self, tape: _Tape) -> None:
        self.tape = tape

    def __enter__(self) -> None:
        self.context = self.tape.running(0)
        self.context.__enter__()

    def __exit__(self, *error: Any) -> None:
        self.context.__exit__(*error)


def _checkpointed(forward: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    if not torch.is_grad_enabled():
        return forward(*arguments, **options)
    if torch.compiler.is_compiling():
        # Its compiler does what leaves traces once, by itself; but a break in the graph would undo that unsaid.
        with torch._dynamo.error_on_graph_break(True):
            return checkpoint(forward, *arguments, use_reentrant=False, **options)
    return checkpoint(forward, *arguments, use_reentrant=False, context_fn=_contexts, **options)


def _contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """For a part's first run, and for those after it."""
    tape = _Tape()
    return tape.running(None), _Playing(tape)
