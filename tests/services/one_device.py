"""Whether a computation stays on one device, without a GPU: networks on the meta device, operations looked at."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

COPIES = ("aten::_to_copy", "aten::copy_")
"""Operations that lead from one device to another."""


class OneDevice(TorchDispatchMode):
    """Refuses operations that mix devices, as a GPU's do, and notes those that make a tensor elsewhere.

    The meta device by itself takes some of them (a plain copy's arguments, an index). Numbers, which are tensors of no
    dimension, may come from a CPU, as they may on a GPU.
    """

    def __init__(self, device: str = "meta") -> None:
        super().__init__()
        self.device, self.elsewhere = torch.device(device), []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func._schema.name
        given = {each.device for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor) and each.dim()}
        if len(given) > 1 and name not in COPIES:
            raise AssertionError(f"{name} mixes {' and '.join(sorted(map(str, given)))}")
        out = func(*args, **kwargs)
        # Of no size is what torch's checkpointing makes to be told of the backward pass.
        made = [each for each in tree_leaves(out) if isinstance(each, Tensor) and each.dim() and each.numel()]
        if not given and any(each.device != self.device for each in made):
            self.elsewhere.append(name)
        return out
