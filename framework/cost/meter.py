"""What a computation on fake tensors costs: FLOPs, bytes and memory, operation by operation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple, ParamSpec, TypeVar

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import DataDependentOutputException
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from framework.cost.tracker import StepTracker
from framework.cost.traffic import traffic

P = ParamSpec("P")
R = TypeVar("R")
aten = torch.ops.aten

_CONVOLUTIONS = frozenset({aten.convolution, aten.convolution_backward})
# Of attention's kernel for CPUs, which torch's table lacks and fake tensors of a CPU go through.
FORMULAS = dict(flop_registry) | {
    aten._scaled_dot_product_flash_attention_for_cpu: flop_registry[aten._scaled_dot_product_flash_attention],
    aten._scaled_dot_product_flash_attention_for_cpu_backward: flop_registry[
        aten._scaled_dot_product_flash_attention_backward
    ],
}
"""FLOPs by operation, as torch's ``FlopCounterMode`` takes them."""


class Operation(NamedTuple):
    """What one operation costs."""

    phase: str
    """What it is done for, as :attr:`Meter.phase` was."""
    part: str
    """In which part of it, as :attr:`Meter.part` was."""
    turn: int
    """At the how manieth part of a batch, as :attr:`Meter.turn` was."""
    flops: int
    """Floating-point operations of matrix products and convolutions, a multiplication and an addition counting two."""
    bytes: int
    """Read and written, each operand once."""
    dtype: torch.dtype | None = None
    """What it multiplies in, where it has FLOPs."""
    convolution: bool = False
    """Whether it is one, or the backward pass of one."""
    held: tuple[int, ...] = ()
    """Memory after it, as :meth:`StepTracker.held` says; empty where it is not tracked."""


class Meter(TorchDispatchMode):  # type: ignore[no-untyped-call]  # so in torch, here and below
    """Notes every operation inside it, in a ``FakeTensorMode``.

    FLOPs are by :data:`FORMULAS`. Questions that fake tensors cannot answer are answered
    as training hopes for: gradients are finite, nothing overflows. The one whole number that a step asks for is that
    of the window.

    Args:
        window: which of the windows is drawn.
        tracker: of the memory; None tracks none.
    """

    def __init__(self, window: int = 0, tracker: StepTracker | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations: list[Operation] = []
        self.phase = self.part = ""
        self.turn = 0
        self._window, self._tracker = window, tracker
        self._stack = ExitStack()

    def __enter__(self) -> Meter:
        if self._tracker is not None:
            self._stack.enter_context(self._tracker)
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        self._stack.close()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation below and note what it cost."""
        kwargs = kwargs or {}
        try:
            out = func(*args, **kwargs)
        except DataDependentOutputException:
            return self._answer(args[0])
        packet = func._overloadpacket
        formula = FORMULAS.get(packet)
        flops = 0 if formula is None else int(formula(*args, **kwargs, out_val=out))
        self.operations.append(
            Operation(
                self.phase,
                self.part,
                self.turn,
                flops,
                traffic(func, args, kwargs, out),
                args[0].dtype if flops else None,
                packet in _CONVOLUTIONS,
                () if self._tracker is None else self._tracker.held(),
            )
        )
        return out

    @contextmanager
    def during(self, part: str) -> Iterator[None]:
        """Operations inside belong to ``part``."""
        before, self.part = self.part, part
        try:
            yield
        finally:
            self.part = before

    def within(self, part: str, call: Callable[P, R]) -> Callable[P, R]:
        """``call``, its operations belonging to ``part``."""

        def counted(*arguments: P.args, **options: P.kwargs) -> R:
            with self.during(part):
                return call(*arguments, **options)

        return counted

    def _answer(self, asked: Tensor) -> bool | int:
        if asked.dtype == torch.bool:
            return True
        return 0 if asked.is_floating_point() else self._window
