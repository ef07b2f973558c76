"""Generator weight averaging (Karras et al., 2018): samples by the mean of the weights that training went through."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch

from components.generators import Generator
from components.layers import ConditionalBatchNorm, settle_singular_vectors
from registry import InputError


class WeightAverage:
    """An exponential moving average of a generator's parameters, by their names.

    Update n, counted from 0, is ``average = d * average + (1 - d) * weights`` with
    ``d = min(decay, (1 + n) / (10 + n))``: in a run's beginning the average follows closely, so that the first
    weights, which are random, do not linger. All ranks that train the same weights hold the same average.

    Args:
        generator: as it is when the average begins.
        decay: d after the beginning, in [0, 1).
    """

    def __init__(self, generator: Generator, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        """How many steps of the generator are in the average."""
        self.parameters = {name: weight.detach().clone() for name, weight in generator.named_parameters()}

    @torch.no_grad()
    def update(self, generator: Generator) -> None:
        """Take in the generator's weights; to be called after each of its steps."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        torch._foreach_lerp_(list(self.parameters.values()), list(generator.parameters()), 1 - decay)
        self.updates += 1

    @torch.no_grad()
    def generator(self, trained: Generator) -> Generator:
        """A copy of ``trained`` with the averaged weights, in evaluation mode.

        Singular values belong to weights: they are estimated anew, from the trained weights' singular vectors on.
        Running statistics of batch norms do too: there are none until standing statistics are estimated.
        """
        averaged = copy.deepcopy(trained).eval().requires_grad_(False)
        for name, weight in averaged.named_parameters():
            weight.copy_(self.parameters[name])
        settle_singular_vectors(averaged)
        for part in averaged.modules():
            if isinstance(part, ConditionalBatchNorm):
                part.reset_statistics(0)
        return averaged

    def state_dict(self) -> dict[str, Any]:
        """All but the decay, which the spec has: tensors and plain values only."""
        return {"updates": self.updates, "parameters": dict(self.parameters)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Carry on where ``state``, from :meth:`state_dict`, was saved; tensors come to where the weights are.

        Raises:
            InputError: it is the average of a generator with other parameters.
        """
        saved = state["parameters"]
        shapes, expected = ({name: tuple(w.shape) for name, w in each.items()} for each in (saved, self.parameters))
        if shapes != expected:
            name = next(name for name in shapes | expected if shapes.get(name) != expected.get(name))
            what = f"{name} has shape {shapes.get(name)}, the generator's has {expected.get(name)}"
            raise InputError.of("weight average", what, "the average of this generator")
        self.updates = int(state["updates"])
        for name, weight in self.parameters.items():
            weight.copy_(saved[name])
