"""Bytes that an operation moves between a device and its memory, at least."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten

_UNTOUCHED = frozenset({"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "resize_"})
"""Operations that allocate and write nothing."""
_PICKING = frozenset({"index", "index_select", "gather", "embedding"})
"""Operations that read of their first operand as much as they give."""
_WRITING_ENDS = ("_like", "zero_", "fill_", "normal_", "uniform_")
"""Ends of names of operations that take a shape alone from what they are given."""


def traffic(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> int:
    """The bytes of ``out`` and of all tensors among the arguments, each read or written once.

    Views move nothing, nor does allocating. What is expanded is read where it is, once. Caches, and kernels that go
    over an operand more than once, are not known here: it is what a kernel cannot do without.

    Args:
        func: the overload, as ``__torch_dispatch__`` is given it.
        args: its arguments.
        kwargs: its other arguments.
        out: what it gave.
    """
    name = func._schema.name.removeprefix("aten::")
    if name in _UNTOUCHED:
        return 0
    read, written = list(_tensors((args, kwargs))), list(_tensors(out))
    if not func._schema.is_mutable:
        storages = {each.untyped_storage()._cdata for each in read}
        written = [each for each in written if each.untyped_storage()._cdata not in storages]
        if not written and read:
            return 0  # views of what was there
    made = sum(map(_bytes, written))
    if name in _PICKING:
        return 2 * made + sum(map(_bytes, read[1:]))
    if name.endswith(_WRITING_ENDS) or name.startswith("new_"):
        return made
    return made + sum(map(_bytes, read))


def _bytes(tensor: Tensor) -> int:
    """Of the values that are there, however often a stride of 0 repeats them."""
    count = 1
    for size, stride in zip(tensor.shape, tensor.stride(), strict=True):
        count *= size if stride else min(size, 1)
    return count * tensor.element_size()


def _tensors(tree: Any) -> Iterator[Tensor]:
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, (tuple, list)):
        for each in tree:
            yield from _tensors(each)
    elif isinstance(tree, Mapping):
        yield from _tensors(list(tree.values()))
