"""torch's memory tracker for a step that is no module's forward: a whole update, optimizer and all."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed._tools.mem_tracker import MemTracker, _MemRefType

from components.layers.recompute import recomputing

CATEGORIES = tuple(each.value for each in _MemRefType)
"""What memory is held for, as torch's tracker tells it."""
_CPU = torch.device("cpu")
_NOTHING = (0,) * (len(CATEGORIES) + 1)


class StepTracker(MemTracker):
    """torch's tracker, of the whole step and not module by module.

    Its hooks on modules cannot be used here: they refuse a module that is called again, as discriminators are, and one
    whose weights are frozen, as the sources' are. They tell two things besides: which tensors are gradients, which
    :meth:`watch` does, and what is computed again in the backward pass.
    """

    def __init__(self) -> None:
        super().__init__()
        self._mod_tracker: Any = _WholeStep()

    def watch(self, network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Track the network's parameters, buffers and gradients, and its optimizer's state; before it is entered."""
        self.track_external(network, optimizer)
        for parameter in network.parameters():
            parameter.register_post_accumulate_grad_hook(self._is_gradient)  # type: ignore[no-untyped-call]  # so in torch

    def held(self) -> tuple[int, ...]:
        """Bytes held at present, by :data:`CATEGORIES` and then in all."""
        snapshot = self._curr_mem_snap.get(_CPU)
        return _NOTHING if snapshot is None else tuple(snapshot.values())

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Track what the operation makes."""
        self._in_ac = recomputing()
        return super().__torch_dispatch__(func, types, args, kwargs)  # type: ignore[no-untyped-call]  # so in torch

    def _is_gradient(self, parameter: Tensor) -> None:
        if parameter.grad is not None:
            self._update_and_maybe_create_winfos(parameter.grad, _MemRefType.GRAD)


class _WholeStep:
    """In place of torch's tracker of modules."""

    parents = frozenset({"Global"})

    @property
    def is_bw(self) -> bool:
        """Whether a backward pass runs."""
        return torch._C._current_graph_task_id() != -1

    def register_user_hooks(self, *hooks: Any) -> None:
        """There are no modules to call them for."""

    def clear_user_hooks(self) -> None:
        """There are none."""

    def __enter__(self) -> None: ...

    def __exit__(self, *error: object) -> None: ...
