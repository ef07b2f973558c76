"""Checkpoints of a stage in training: whole and verified, or absent.

A checkpoint is ``iter_00000100.pt`` with ``iter_00000100.json`` beside it, which holds the digest of the
former and is written last. A checkpoint without its manifest, or that does not match it, is not used.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from registry import InputError

KEEP = 2
"""How many of the latest checkpoints are kept."""


def save_checkpoint(folder: Path, iteration: int, state: dict[str, Any]) -> Path:
    """Write ``state`` (tensors and plain values) as the checkpoint of ``iteration``; older ones are cleared."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"iter_{iteration:08d}.pt"
    partial = path.with_name(path.name + ".partial")
    with naming(path), partial.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    digest = file_digest(partial)
    partial.replace(path)
    sync(folder)
    write_whole(path.with_suffix(".json"), json.dumps({"iteration": iteration, "sha256": digest}) + "\n")
    for old in _manifests(folder)[:-KEEP]:
        old.unlink()
        old.with_suffix(".pt").unlink(missing_ok=True)
    return path


def load_latest(folder: Path) -> tuple[dict[str, Any] | None, list[str]]:
    """The newest whole checkpoint in ``folder``, and a line on each newer one that is damaged.

    Tensors are loaded to the CPU. Only tensors and plain values are read; a pickled object is refused
    and runs no code.

    Raises:
        InputError: there are checkpoints, and all of them are damaged.
    """
    warnings: list[str] = []
    for manifest in reversed(_manifests(folder)):
        path = manifest.with_suffix(".pt")
        try:
            expected = json.loads(manifest.read_text())["sha256"]
            if file_digest(path) != expected:
                raise ValueError("does not match its digest")
            return torch.load(path, map_location="cpu", weights_only=True), warnings
        except (OSError, ValueError, KeyError, TypeError, pickle.UnpicklingError) as error:
            warnings.append(f"{path}: damaged checkpoint left aside ({str(error).splitlines()[0]})")
    if warnings:
        raise InputError.of(
            str(folder),
            f"every checkpoint is damaged: {'; '.join(warnings)}",
            "removing that folder, to train the stage anew",
        )
    return None, warnings


def write_whole(path: Path, text: str) -> None:
    """Write a small file so that it is there whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    with naming(path), partial.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    sync(path.parent)


def sync(path: Path) -> None:
    """Bring a file to the disk, or the names in a folder: without that a power cut may undo a rename."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def first_not_finite(state: Any, path: str = "") -> str | None:
    """The path of the first tensor or number in a nested ``state`` that holds a NaN or an infinity."""
    if isinstance(state, Mapping):
        parts = ((f"{path}.{key}" if path else str(key), part) for key, part in state.items())
    elif isinstance(state, list | tuple):
        parts = ((f"{path}[{index}]", part) for index, part in enumerate(state))
    else:
        finite = not isinstance(state, Tensor | float) or bool(torch.as_tensor(state).isfinite().all())
        return None if finite else path
    return next((found for name, part in parts if (found := first_not_finite(part, name)) is not None), None)


def file_digest(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Errors of the disk while ``path`` is written name it; torch's writer hides them behind one of its own."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        cause = error if isinstance(error, OSError) else error.__context__
        if not isinstance(cause, OSError):
            raise
        raise OSError(cause.errno, cause.strerror, str(path)) from error


def _manifests(folder: Path) -> list[Path]:
    return sorted(folder.glob("iter_*.json"))
