"""Checkpoints of a stage in training: whole and verified, or absent.

A checkpoint is ``iter_00000100.pt`` with ``iter_00000100.json`` beside it, which holds the digest of the
former and is written last. A checkpoint without its manifest, or that does not match it, is not used.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from framework.plain_data import read_object
from registry import InputError

BEST = "best.json"
"""Which checkpoint had the best metric."""


class Checkpoints:
    """The checkpoints of one stage: the latest, and perhaps the best.

    Args:
        folder: where they are.
        keep: how many of the latest are kept.
        best: ``"min:NAME"`` or ``"max:NAME"``, the metric whose best checkpoint is kept besides; None for none.
        now_and_then: metrics that not every line has.
    """

    def __init__(
        self, folder: Path, keep: int = 2, best: str | None = None, now_and_then: Collection[str] = ()
    ) -> None:
        self.folder, self._keep, self._now_and_then = folder, keep, now_and_then
        self._direction, _, self._metric = (best or "").partition(":")

    def save(self, iteration: int, state: dict[str, Any], metrics: Mapping[str, float] | None = None) -> Path:
        """Write ``state`` (tensors and plain values) as the checkpoint of ``iteration``; older ones are cleared.

        Args:
            iteration: after which it is.
            state: of the training.
            metrics: the latest values, by which the best is told.

        Returns:
            Path: of the file.
        """
        _make(self.folder)
        path = self.folder / f"iter_{iteration:08d}.pt"
        partial = path.with_name(path.name + ".partial")
        try:
            with naming(path), partial.open("wb") as file:
                torch.save(state, file)
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            partial.unlink(missing_ok=True)  # it may be what fills the disk
            raise
        digest = file_digest(partial)
        partial.replace(path)
        sync(self.folder)
        # Before the manifest: a run that ends between the two makes this checkpoint again.
        self._remember_best(iteration, metrics or {})
        write_whole(path.with_suffix(".json"), json.dumps({"iteration": iteration, "sha256": digest}) + "\n")
        self._clear(iteration)
        return path

    def refuse_unknown(self, metrics: Mapping[str, float]) -> None:
        """Refuse to look for the best of a metric that is not among ``metrics``.

        Nothing is said of metrics that lack those of an update, which was left out: others may be missing, too.

        Raises:
            InputError: naming those that there are.
        """
        whole = {"loss_D", "loss_G", "grad_norm_D", "grad_norm_G"} <= metrics.keys()
        if self._metric and whole and self._metric not in metrics and self._metric not in self._now_and_then:
            names = [*metrics, *self._now_and_then]
            raise InputError.unknown("training.keep_best", "metric", self._metric, names)

    def _remember_best(self, iteration: int, metrics: Mapping[str, float]) -> None:
        if self._metric not in metrics:
            return
        value, known = metrics[self._metric], self._best()
        if known.get("iteration", 0) > iteration:
            known = {}  # of a checkpoint that was damaged, and is made anew
        sign = -1 if self._direction == "max" else 1
        if known.get("metric") != self._metric or sign * value < sign * known["value"]:
            best = {"iteration": iteration, "metric": self._metric, "value": value}
            write_whole(self.folder / BEST, json.dumps(best) + "\n")

    def _best(self) -> dict[str, Any]:
        path = self.folder / BEST
        return read_object(path) if path.is_file() else {}

    def _clear(self, newest: int) -> None:
        """Keep the latest up to ``newest``; later ones are damaged, or training would not have begun before them."""
        best = self._best().get("iteration") if self._metric else None
        manifests = _manifests(self.folder)
        sound = [path for path in manifests if path.stem <= f"iter_{newest:08d}"]
        for old in (*sound[: -self._keep], *manifests[len(sound) :]):
            if old.stem != f"iter_{best or 0:08d}":
                old.unlink()
                old.with_suffix(".pt").unlink(missing_ok=True)


def newest_whole(folder: Path) -> tuple[Path | None, list[str]]:
    """The newest checkpoint in ``folder`` that matches its digest, and a line on each newer one that does not.

    Raises:
        InputError: there are checkpoints, and all of them are damaged.
    """
    warnings: list[str] = []
    for manifest in reversed(_manifests(folder)):
        path = manifest.with_suffix(".pt")
        try:
            if file_digest(path) != json.loads(manifest.read_text())["sha256"]:
                raise ValueError("does not match its digest")
            load_checkpoint(path)
            return path, warnings
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, pickle.UnpicklingError) as error:
            warnings.append(f"{path}: damaged checkpoint left aside ({str(error).splitlines()[0]})")
    if warnings:
        raise InputError.of(
            str(folder),
            f"every checkpoint is damaged: {'; '.join(warnings)}",
            "removing that folder, to train the stage anew",
        )
    return None, warnings


def has_whole(folder: Path) -> bool:
    """Whether there is a checkpoint in ``folder`` that training would carry on from."""
    try:
        return newest_whole(folder)[0] is not None
    except InputError:  # all are damaged
        return False


def load_checkpoint(path: Path) -> dict[str, Any]:
    """What a checkpoint holds, its tensors on the CPU.

    Only tensors and plain values are read; a pickled object is refused (``UnpicklingError``) and runs no code.
    """
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state


def write_whole(path: Path, text: str) -> None:
    """Write a small file so that it is there whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    try:
        with naming(path), partial.open("w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        partial.unlink(missing_ok=True)  # it may be what fills the disk
        raise
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


def _make(folder: Path) -> None:
    """Make a folder that a power cut does not undo."""
    if not folder.is_dir():
        _make(folder.parent)
        folder.mkdir(exist_ok=True)
        sync(folder.parent)


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
