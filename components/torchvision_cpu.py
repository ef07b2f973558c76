"""Lets torchvision be imported beside a torch that cannot load torchvision's compiled library.

Why: package indexes serve a torchvision built for CUDA. Beside a CPU-only build of torch its compiled
library cannot be loaded, the operators that the library would declare are missing, and importing
torchvision fails with ``operator torchvision::nms does not exist``; so does importing timm, which this
project uses for image backbones but never for those operators. Declaring their signatures is enough for
the import to work. Calling one of them still fails, as it should.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
from pathlib import Path

import torch

_SCHEMAS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}
"""The operators that torchvision refers to while it is imported, as it declares them."""

_declared: list[torch.library.Library] = []
"""What was declared; torch forgets a declaration whose library is no longer referred to."""


def ensure_torchvision_imports() -> None:
    """Declare torchvision's operators where its own library cannot, so that importing it works.

    Call it before anything imports torchvision (timm does). Where torchvision is absent, or its library
    can be loaded, nothing changes. Calling it again is safe.
    """
    package = importlib.util.find_spec("torchvision")
    if package is None or not package.submodule_search_locations:
        return
    if _operators_exist() or _library_loads(Path(package.submodule_search_locations[0])):
        return
    library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]  # torch has no types for it
    for schema in _SCHEMAS.values():
        library.define(schema)  # type: ignore[no-untyped-call]  # torch has no types for it
    _declared.append(library)


def _operators_exist() -> bool:
    return all(hasattr(torch.ops.torchvision, name) for name in _SCHEMAS)


def _library_loads(folder: Path) -> bool:
    """Load torchvision's compiled library, as importing torchvision would; False when that cannot be done."""
    loader = (importlib.machinery.ExtensionFileLoader, importlib.machinery.EXTENSION_SUFFIXES)
    library = importlib.machinery.FileFinder(str(folder), loader).find_spec("_C")
    if library is None or library.origin is None:
        return False
    try:
        torch.ops.load_library(library.origin)  # type: ignore[no-untyped-call]  # torch has no types for it
    except OSError:
        return False
    return _operators_exist()
