"""Checks of what a module is called with, each an error that names the argument and the shape expected."""

from __future__ import annotations

from torch import Tensor

from registry import InputError


def check_shape(name: str, tensor: Tensor, *expected: int | str) -> None:
    """Refuse the argument ``name`` unless its shape is ``expected``.

    Args:
        name: what the argument is called.
        tensor: the argument.
        expected: one entry per dimension: a size, or a letter for any size from one on.

    Raises:
        InputError: on ``name``.
    """
    fits = tensor.ndim == len(expected) and all(
        size == wanted or (isinstance(wanted, str) and size > 0)
        for size, wanted in zip(tensor.shape, expected, strict=True)
    )
    if not fits:
        allowed = f"shape ({', '.join(map(str, expected))})"
        raise InputError.of(name, f"has shape {tuple(tensor.shape)}", allowed)


def check_classes(y: Tensor | None, classes: int | None, batch: int) -> None:
    """Refuse class indices ``y`` unless they are ``(batch,)`` whole numbers, or None without ``classes``.

    Whether they are below ``classes`` is not looked at: that would make the host wait for the device.

    Raises:
        InputError: on ``y``.
    """
    if classes is None:
        if y is not None:
            raise InputError.of("y", "class indices were given to an unconditional module", allowed="None")
        return
    allowed = f"int64 class indices below {classes}, shape ({batch},)"
    if y is None:
        raise InputError.of("y", "class indices are missing", allowed)
    if y.shape != (batch,) or y.is_floating_point():
        raise InputError.of("y", f"has shape {tuple(y.shape)} and type {y.dtype}", allowed)
