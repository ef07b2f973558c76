"""A trained classifier on the disk: what its folder holds, and how it is read.

The folder holds ``network.safetensors``, ``spec.json`` and ``manifest.json``, which was written last and says all
that is needed to build the network again, with a checksum of its own. ``tools/train.py`` writes it
(:mod:`framework.classifier_artifact`).
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

import attrs
import torch
from safetensors import SafetensorError
from safetensors.torch import load

from components.classifiers.base import Classifier
from components.clip import Clip
from registry import CLASSIFIERS, Component, InputError
from registry.checksum import unchanged
from registry.component import freeze
from registry.convert import structure

FORMAT = 2
NETWORK, MANIFEST = "network.safetensors", "manifest.json"
FOLDER = Path("classifier", "artifact")
"""Where it lies in a run's folder."""
_ALLOWED = "a run of a classifier that tools/train.py has finished, or its artifact's folder"


@attrs.frozen(kw_only=True)
class HeldOut:
    """How well the network tells the clips that it was not trained on."""

    rule: str
    """Which clips these are."""
    clips: int
    accuracy: float
    """The share of them whose class it tells."""
    per_class: dict[str, tuple[int, int]]
    """For each class, how many it tells, of how many."""


@attrs.frozen(kw_only=True)
class Manifest:
    """What a trained classifier says of itself."""

    network: Component
    clip: Clip
    """What it was trained on."""
    classes: tuple[str, ...] = attrs.field(converter=freeze)
    """Their names, in the order of the logits."""
    iterations: int
    data: str
    """Fingerprint of the dataset."""
    held_out: HeldOut
    digests: dict[str, str]
    """SHA-256 of each file."""
    versions: dict[str, str]
    """Of the libraries it was made with."""
    kind: Literal["classifier"] = "classifier"
    format: int = FORMAT


def find_classifier(path: Path) -> Path:
    """The folder of the trained classifier in ``path``, which is that folder or a run's.

    Raises:
        InputError: on ``path``, when there is none.
    """
    for folder in (path, path / FOLDER):
        if (folder / MANIFEST).is_file():
            return folder
    what = (
        "the classifier is not trained to its end yet" if (path / FOLDER.parts[0]).is_dir() else "holds no classifier"
    )
    raise InputError.of("path", f"{path}: {what}", _ALLOWED)


def read_classifier(folder: Path) -> tuple[Manifest, Classifier, str]:
    """A trained classifier, on the CPU; what it says of itself; and the digest of its manifest.

    Raises:
        InputError: on ``path``, when a file is missing, damaged or of something else.
    """
    text = (folder / MANIFEST).read_bytes()
    manifest = _manifest(folder / MANIFEST, text)
    contents = {name: _verified(folder / name, digest) for name, digest in manifest.digests.items()}
    if NETWORK not in contents:
        raise InputError.of("path", f"{folder / MANIFEST} names no {NETWORK}", _ALLOWED)
    with torch.device("meta"):
        network: Classifier = CLASSIFIERS.build(
            manifest.network, "path", clip=manifest.clip, classes=len(manifest.classes)
        )
    try:
        network.load_state_dict(load(contents[NETWORK]), assign=True)
    except (RuntimeError, SafetensorError) as error:
        said = str(error).splitlines()[:2][-1].strip()
        what = f"{folder / NETWORK} does not fit {manifest.network.type} ({said[:100]})"
        raise InputError.of("path", what, "a run of this version") from error
    return manifest, network, hashlib.sha256(text).hexdigest()


def _manifest(path: Path, text: bytes) -> Manifest:
    try:
        data: Any = json.loads(text)
    except ValueError as error:
        raise InputError.of("path", f"{path} is damaged ({error})") from None
    if not isinstance(data, dict) or data.get("kind") != "classifier":
        raise InputError.of("path", f"{path} is of something else than a classifier", _ALLOWED)
    if data.get("format") != FORMAT:
        raise InputError.of("path", f"{path} is of another format", f'"format": {FORMAT}')
    others = unchanged(data)
    if others is None:
        raise InputError.of("path", f"{path} does not match its own checksum: damaged or changed")
    try:
        return structure(others, Manifest)
    except InputError as error:
        raise InputError.of("path", f"{path} is damaged ({error.problems[0]})") from None


def _verified(path: Path, digest: str) -> bytes:
    if not path.is_file():
        raise InputError.of("path", f"{path} is missing from the artifact")
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != digest:
        raise InputError.of("path", f"{path} does not match the digest in its manifest: damaged or changed")
    return content
