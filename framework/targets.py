"""The files that commands write: what they are called, and whether they can be written, before anything is made."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from framework.plain_data import read_object
from registry import InputError

_IN_A_FOLDER = "a file in a folder that is there"


def stem_of(
    names: Sequence[str], *, length: int | None, ends: Sequence[int] | None, label: str | None, sigma: float, seed: int
) -> str:
    """What the files of a request are called: all that tells its videos from those of another request.

    Args:
        names: of the experiment and of the last stage.
        length: frames, where they are not the clip's.
        ends: the samples between which it interpolates, if it does.
        label: the class that was asked for, if any.
        sigma: standard deviation of the noise.
        seed: of the samples.
    """
    parts = list(names)
    if length is not None:
        parts.append(f"{length}_frames")
    if ends is not None:
        parts.append("{}_to_{}".format(*ends))
    if label is not None:
        parts.append(re.sub(r"[^\w.-]+", "-", label)[:80])
    if sigma != 1:
        parts.append(f"sigma_{sigma:g}")
    if seed != 0:
        parts.append(f"seed_{seed}")
    return "_".join(parts)


def refuse_targets(out: Path, paths: Iterable[Path]) -> None:
    """Refuse to generate what could not be written afterwards, or would take the place of something else.

    Raises:
        InputError: ``out`` is no folder that can be written, or one of ``paths`` in it is something else than an
            earlier output.
    """
    if not out.exists():
        return
    if not out.is_dir():
        raise InputError.of("--out", f"{out} is not a folder", "a folder, there or not")
    if not os.access(out, os.W_OK | os.X_OK):
        raise InputError.of("--out", f"{out} cannot be written", "a folder that can")
    for path in paths:
        if path.exists() and not (_is_group(path) if path.suffix == ".zarr" else path.is_file()):
            raise InputError.of(str(path), "is in the way: no earlier output of this command", "another --out")


def refuse_file(out: Path, option: str = "--out", *, makes_folder: bool = False) -> None:
    """Refuse to make what could not be written to the file ``out`` afterwards.

    Args:
        out: the file.
        option: that names it on the command line.
        makes_folder: its folder may be missing; for places that nobody has named.

    Raises:
        InputError: it is a folder, or its folder is not there or cannot be written.
    """
    if out.is_dir():
        raise InputError.of(option, f"{out} is a folder", "a file, there or not")
    folder = next(parent for parent in out.absolute().parents if parent.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise InputError.of(option, f"{out} cannot be written", "a file in a folder that can")
    if folder != out.absolute().parent and not makes_folder:
        raise InputError.of(option, f"{out} cannot be written: there is no folder {out.parent}", _IN_A_FOLDER)


def _is_group(path: Path) -> bool:
    """Whether a Zarr group is one of generated videos, which may be replaced."""
    about = path / "zarr.json"
    attributes = read_object(about).get("attributes") if about.is_file() else None
    return isinstance(attributes, dict) and "request" in attributes
