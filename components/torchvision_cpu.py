"""Lets torchvision be imported beside a torch that cannot load torchvision's compiled library.

Why: package indexes serve a torchvision built for CUDA. Beside a CPU-only build of torch its compiled
library cannot be loaded, the operators that the library would declare are missing, and importing
torchvision fails with ``operator torchvision::nms does not exist``; so does importing timm, which this
project uses for image backbones but never for those operators. Declaring their signatures is enough for
the import to work. Calling one of them still fails, as it should.
"""

from __future__ import annotations

import importlib
import sys

import torch

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
"""The operators that torchvision refers to while it is imported, as it declares them."""

_MISSING = "operator torchvision::"
"""In the error of an import that a missing operator broke off."""

_declared: list[torch.library.Library] = []
"""What was declared; torch forgets a declaration whose library is no longer referred to."""


def ensure_torchvision_imports() -> None:
    """Import torchvision, with its operators declared if its own library did not declare them.

    Call it before importing timm. Where torchvision is absent, or imports as it is, nothing is declared.
    Calling it again is safe.

    Raises:
        RuntimeError: torchvision cannot be imported for another reason.
    """
    try:
        importlib.import_module("torchvision")
    except ModuleNotFoundError as error:
        if error.name != "torchvision":
            raise
    except RuntimeError as error:
        if _MISSING not in str(error) or _declared:
            raise
        _forget("torchvision")
        _declare()
        importlib.import_module("torchvision")


def _declare() -> None:
    library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]  # torch has no types for it
    for schema in _SCHEMAS:
        library.define(schema)  # type: ignore[no-untyped-call]  # torch has no types for it
    _declared.append(library)


def _forget(package: str) -> None:
    """Drop what an import that broke off has left behind, so that it can start afresh."""
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        del sys.modules[name]
