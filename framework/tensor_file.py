"""Files of tensors, as artifacts hold them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from framework.checkpoint import naming, sync
from registry import InputError


def save_tensors(path: Path, tensors: Mapping[str, Tensor], name: Path | None = None) -> None:
    """Write tensors, wherever they lie, to a safetensors file, with the permissions that any new file has.

    Args:
        path: of the file; on the disk when this returns.
        tensors: by name.
        name: of the file in errors, where ``path`` is to be renamed to it.

    Raises:
        InputError: it cannot be written.
    """
    name = name or path
    with naming(name):
        path.touch()
        permissions = path.stat().st_mode
        try:
            save_file({key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()}, path)
        except SafetensorError as error:  # its own kind of error for a full disk, too
            raise InputError.of(str(name), f"cannot be written ({error})") from error
        path.chmod(permissions)  # it puts a temporary file of its own in the place, which the owner alone can read
    sync(path)
