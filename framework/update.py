"""One update of a network: gradients of several parts of a batch, in the precision asked for, applied or refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from mmengine.optim import OptimWrapper
from torch import Tensor, distributed

from components import ranks

Precision = Literal["float32", "bfloat16", "float16"]


WAYS = ("foreach", "fused")
"""What an optimizer's groups say of how a step is made: of this process's, not of the one that saved them."""


LEAST_SCALE = 2.0**-14
"""The least that float16's loss is multiplied by: below it even a gradient of 1 were no normal number of float16."""


class NotFiniteError(Exception):
    """A loss or a gradient is not finite, on one rank at least; nothing was updated, and every rank raises it."""

    remedy: str | None = None
    """What helps, where it is not what helps against any number that is not finite."""

    def clause(self) -> str:
        """What is wrong."""
        return f"{self} is not finite"


class OverflowsError(NotFiniteError):
    """Scaled gradients overflow although the loss is scaled as little as can be: no step would be made any more."""

    remedy = "training.precision=bfloat16 or float32, or lower learning rates, in another --work-dir or with --restart"

    def clause(self) -> str:
        """What is wrong."""
        return f"{self} is not finite, also with float16's loss scaled by as little as {LEAST_SCALE:.1e}"


class NetworkOptimizer(OptimWrapper):  # type: ignore[misc]  # MMEngine is untyped
    """An optimizer with what surrounds its step.

    MMEngine's own wrapper for mixed precision is for GPUs only, and none asks all ranks before a step.

    Args:
        optimizer: of one network, or of several that are updated together.
        name: of what it trains, for error messages.
        precision: what :meth:`autocast` lets be computed in; with float16 the loss is scaled.
        max_norm: gradients are scaled down to this norm; None leaves them.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        name: str,
        precision: Precision = "float32",
        max_norm: float | None = None,
    ) -> None:
        super().__init__(optimizer)
        self._name, self._max_norm = name, max_norm
        self._device = optimizer.param_groups[0]["params"][0].device.type
        self._dtype = None if precision == "float32" else getattr(torch, precision)
        self._scaler = torch.amp.GradScaler(self._device, enabled=precision == "float16")

    def autocast(self) -> torch.autocast:
        """In it forwards are computed in the precision."""
        return torch.autocast(self._device, self._dtype, enabled=self._dtype is not None)

    def backward(self, loss: Tensor, **options: Any) -> None:
        """Add the loss's gradients to those that are there."""
        self._scaler.scale(loss).backward(**options)  # type: ignore[no-untyped-call]  # so in torch

    def finish(self, losses: Sequence[Tensor]) -> Tensor | None:
        """Apply the gradients and clear them.

        Args:
            losses: scalars that the gradients come from.

        Returns:
            Tensor | None: the norm of all gradients, a scalar. With float16 the scaled ones overflow now and then:
            None, that step is left out, on all ranks, and the loss scaled less from then on.

        Raises:
            NotFiniteError: a loss, or a gradient, is not finite. Nothing was updated, the gradients are cleared.
            OverflowsError: the same with float16's scaled gradients, and the loss cannot be scaled less.
        """
        self._scaler.unscale_(self.optimizer)
        gradients = [p.grad for group in self.param_groups for p in group["params"] if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients, foreach=True)
        finite = torch.stack([torch.stack(list(losses)).isfinite().all(), norm.isfinite()])
        bad = _where_not(finite)
        overflow = bad == 1 and self._scaler.is_enabled()
        if overflow and self._scaler.get_scale() <= LEAST_SCALE:
            raise self._refused(OverflowsError, "the gradient")
        if bad is not None and not overflow:
            raise self._refused(NotFiniteError, ("the loss", "the gradient")[bad])
        if self._max_norm is not None:
            torch.nn.utils.clip_grads_with_norm_(
                (p for group in self.param_groups for p in group["params"]), self._max_norm, norm
            )
        if overflow:  # of which this rank's own gradients may know nothing
            for found in self._scaler._found_inf_per_device(self.optimizer).values():
                found.fill_(1.0)
        self._scaler.step(self.optimizer)
        self._scaler.update()
        self.zero_grad()
        return None if overflow else norm

    def _refused(self, kind: type[NotFiniteError], what: str) -> NotFiniteError:
        """The error to raise, once all is as before the update."""
        self._scaler.update(self._scaler.get_scale())  # the same scale; without this no other update could begin
        self.zero_grad()
        return kind(f"{what} of the {self._name}")

    def state_dict(self) -> dict[str, Any]:
        """Of the optimizer and of the loss's scale."""
        return {**super().state_dict(), "scaler": self._scaler.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up what :meth:`state_dict` gave."""
        rest = dict(state_dict)
        scaler = rest.pop("scaler")
        if scaler:
            self._scaler.load_state_dict(scaler)
        ways = [{way: group[way] for way in WAYS if way in group} for group in self.param_groups]
        groups = [saved | own for saved, own in zip(rest["param_groups"], ways, strict=True)]
        if not any(own.get("fused") for own in ways):  # a fused optimizer counts its steps on its device
            rest["state"] = {key: _counted_here(state) for key, state in rest["state"].items()}
        super().load_state_dict(rest | {"param_groups": groups})


def _counted_here(state: dict[str, Any]) -> dict[str, Any]:
    """A parameter's state with its count of steps on the CPU, where optimizers of several kernels look for it."""
    return {name: value.cpu() if name == "step" else value for name, value in state.items()}


def _where_not(finite: Tensor) -> int | None:
    """The first place of ``finite`` that is False on any rank."""
    if ranks.world() > 1:
        agreed = finite.to(torch.uint8)
        distributed.all_reduce(agreed, distributed.ReduceOp.MIN)
        finite = agreed.bool()
    values = finite.tolist()
    return values.index(False) if False in values else None
