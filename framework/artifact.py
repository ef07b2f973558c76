"""What a trained stage leaves behind: its generator, the spec, and digests of all it stands on.

``artifact/`` holds ``generator.safetensors``, ``average.safetensors`` where weights are averaged, ``spec.json``, in
``source/`` a copy of the source stage's artifact, and, written last, ``manifest.json``. So it generates by itself,
wherever it is taken. The manifest names the digest of each file, of the source's manifest and of the data, so that a
chain of artifacts that do not belong together is refused instead of generating nonsense, and a checksum of its own.
``statistics/`` may be added later: batch-norm statistics of other lengths (:mod:`framework.statistics`).
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
from safetensors import SafetensorError
from safetensors.torch import load_file

from components.generators import Generator
from framework.build import build_generator
from framework.cascade import Cascade, Link
from framework.checkpoint import file_digest, first_not_finite, has_whole, sync, write_whole
from framework.experiment import Experiment, dump, shaping
from framework.graph import Stage
from framework.plain_data import differences, read_object, verified
from framework.tensor_file import save_tensors
from registry import InputError
from registry.checksum import checksummed
from registry.convert import structure, unstructure

FORMAT = 3
GENERATOR, AVERAGE, SPEC, MANIFEST = "generator.safetensors", "average.safetensors", "spec.json", "manifest.json"
SOURCE, STATISTICS = "source", "statistics"
"""Folders: the source stage's artifact, and statistics of other lengths than the clip's."""
DATA_NAME = "data.json"
"""What a run folder says of its data; an artifact of the run is at ``RUN/STAGE/artifact``."""
CHECKPOINTS = "checkpoints"
"""The folder beside it of the stage as it trained."""
LIBRARIES = ("stagewise", "torch", "mmengine", "kornia", "timm", "opencv-python", "zarr", "numpy")


@attrs.frozen(kw_only=True)
class Manifest:
    """What an artifact says of itself."""

    stage: str
    iterations: int
    statistics_frames: int
    """Length of the video that the batch-norm statistics belong to."""
    statistics_passes: int
    """Forward passes that they were estimated from."""
    statistics_batch: int
    """Clips in each of these passes."""
    data: str
    """Fingerprint of the dataset."""
    classes: tuple[str, ...] | None
    """Names of the classes."""
    class_counts: tuple[int, ...] | None
    """How many of the clips that trained the stage were of each class."""
    source: str | None
    """Digest of the manifest of the source stage's artifact; None for the base stage."""
    digests: dict[str, str]
    """SHA-256 of each file of the artifact."""
    versions: dict[str, str]
    """Of the libraries it was made with."""
    format: int = FORMAT


def save_artifact(
    folder: Path,
    experiment: Experiment,
    generator: Generator,
    average: Generator | None = None,
    *,
    source: Path | None,
    **facts: Any,
) -> None:
    """Write a stage's artifact beside ``folder`` and move it there whole.

    Args:
        folder: of the artifact; must not exist.
        experiment: what it was trained by.
        generator: with its batch-norm statistics.
        average: the same with the averaged weights, and statistics of their own.
        source: the artifact of the stage's source; None for the base stage.
        facts: the other fields of :class:`Manifest`.

    Raises:
        InputError: the weights or the statistics are not finite, or cannot be written.
    """
    networks = {GENERATOR: generator, **({} if average is None else {AVERAGE: average})}
    for network in networks.values():
        if (name := first_not_finite(network.state_dict())) is not None:
            raise InputError.of(str(folder), f"is not written: {name} is not finite", "lower learning rates")
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for file, network in networks.items():
        save_tensors(partial / file, network.state_dict())
    write_whole(partial / SPEC, dump(experiment))
    digests = {name: file_digest(partial / name) for name in (*networks, SPEC)}
    if source is not None:
        _copy_whole(source, partial / SOURCE)
    below = None if source is None else manifest_digest(source)
    manifest = Manifest(digests=digests, versions=versions(), source=below, **facts)
    write_whole(partial / MANIFEST, json.dumps(checksummed(unstructure(manifest)), indent=2) + "\n")
    partial.rename(folder)
    sync(folder.parent)


def _copy_whole(folder: Path, to: Path) -> None:
    shutil.copytree(folder, to)
    for path in to.rglob("*"):
        sync(path)


def read_manifest(folder: Path) -> Manifest:
    """What the artifact in ``folder`` says of itself, its files verified against their digests.

    Raises:
        InputError: there is no artifact, it is of another format, or a file is missing, damaged or changed; it says
            how the artifact can be made anew, where that is so.
    """
    if not (folder / MANIFEST).is_file():
        raise InputError.of(str(folder), "there is no finished artifact", "a stage that tools/train.py has finished")
    with _remedied(folder):
        return _verified(folder)


def _verified(folder: Path) -> Manifest:
    try:
        data = json.loads((folder / MANIFEST).read_text())
    except ValueError as error:
        raise InputError.of(str(folder / MANIFEST), f"is damaged ({error})") from None
    if isinstance(data, dict) and "kind" in data:
        raise InputError.of(str(folder), f"holds a {data['kind']}, not a stage of a cascade", "a stage's artifact")
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise InputError.of(str(folder / MANIFEST), "is of another format", f'"format": {FORMAT}')
    manifest = structure(verified(data, folder / MANIFEST), Manifest, str(folder / MANIFEST))
    if unlisted := {GENERATOR, SPEC} - manifest.digests.keys():
        raise InputError.of(str(folder / MANIFEST), f"has no digest of {min(unlisted)}")
    for name, digest in manifest.digests.items():
        if not (folder / name).is_file():
            raise InputError.of(str(folder / name), "is missing from the artifact")
        if file_digest(folder / name) != digest:
            raise InputError.of(str(folder / name), "does not match the digest in its manifest: damaged or changed")
    return manifest


@contextmanager
def _remedied(folder: Path) -> Iterator[None]:
    """Damage to an artifact that the run around it can make anew from a checkpoint says so."""
    try:
        yield
    except InputError as error:
        if not (_run_of(folder) / DATA_NAME).is_file() or not has_whole(folder.parent / CHECKPOINTS):
            raise
        remedy = f"the file as it was, or {folder} deleted: the same training makes it anew from the last checkpoint"
        raise InputError(
            problem if problem.allowed else attrs.evolve(problem, allowed=remedy) for problem in error.problems
        ) from None


def _run_of(folder: Path) -> Path:
    """The run that an artifact's folder is of, if it lies in one: it is ``RUN/STAGE/artifact`` there."""
    return folder.absolute().parent.parent


def manifest_digest(folder: Path) -> str:
    """The digest by which a later stage's artifact names this one."""
    return hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()


def read_own_manifest(folder: Path, experiment: Experiment, stage: Stage, source: Path | None) -> Manifest:
    """What the artifact in ``folder`` says of itself, if it is what ``experiment`` makes of ``stage``.

    Args:
        folder: of the artifact; where it lies in a run folder, the data is to be that run's.
        experiment: the one it is to belong to.
        stage: which of its stages.
        source: the artifact of the stage's source, None for the base stage.

    Raises:
        InputError: it is damaged, or was made by another stage or spec, of other data, of another length or
            on another source.
    """
    manifest = read_manifest(folder)
    if manifest.stage != stage.name:
        raise InputError.of(str(folder), f"is the artifact of stage {manifest.stage!r}, not of {stage.name!r}")
    if changes := spec_differences(read_object(folder / SPEC), experiment, folder / SPEC):
        raise InputError.of(str(folder), f"was trained by another spec ({changes[0]})")
    data = _run_of(folder) / DATA_NAME
    if data.is_file() and (known := read_object(data).get("fingerprint")) != manifest.data:
        was, now = manifest.data[:12], str(known)[:12]
        raise InputError.of(str(folder), f"was trained on other data (fingerprint {was}, the run's is {now})")
    if manifest.statistics_frames != stage.clip.frames:
        what = f"has statistics of {manifest.statistics_frames} frames, the stage's clip has {stage.clip.frames}"
        raise InputError.of(str(folder), what)
    if manifest.source != (None if source is None else manifest_digest(source)):
        raise InputError.of(str(folder), f"was trained on another artifact than the one in {source}")
    return manifest


def spec_differences(saved: dict[str, Any], experiment: Experiment, path: Path) -> list[str]:
    """Where a saved spec differs from ``experiment`` in what shapes the result, a clause each.

    Raises:
        InputError: ``saved``, which was read from ``path``, is no spec.
    """
    try:
        there = shaping(saved)
    except (KeyError, TypeError, AttributeError):
        raise InputError.of(str(path), "is damaged (it holds no spec)") from None
    return differences(there, shaping(json.loads(dump(experiment))))


def load_link(folder: Path, experiment: Experiment, stage: Stage, source: Path | None) -> Link:
    """The trained stage in the artifact ``folder``, on the CPU; with its averaged weights, where it has them.

    Args:
        folder: of the artifact.
        experiment: the one it belongs to.
        stage: which of its stages.
        source: the artifact of the stage's source, None for the base stage.

    Raises:
        InputError: it is damaged, or not this experiment's: see :func:`read_own_manifest`.
    """
    manifest = read_own_manifest(folder, experiment, stage, source)
    weights = AVERAGE if AVERAGE in manifest.digests else GENERATOR
    generator = build_generator(experiment.graph, stage)
    try:
        generator.load_state_dict(load_file(folder / weights))
    except (RuntimeError, SafetensorError) as error:
        first = str(error).splitlines()[:2][-1].strip()
        raise InputError.of(
            str(folder / weights), f"does not fit the spec's generator ({first[:100]}...)", "a run of this version"
        ) from error
    return Link(stage.name, stage.clip, generator, stage.training_clip.frames)


def load_cascade(artifacts: dict[str, Path], experiment: Experiment, name: str) -> Cascade:
    """The trained stages from the base to ``name``.

    Args:
        artifacts: each stage's artifact folder.
        experiment: the one they belong to.
        name: the last stage.

    Raises:
        InputError: an artifact is missing or damaged, or the chain of digests is broken.
    """
    return Cascade(
        [
            load_link(artifacts[stage.name], experiment, stage, artifacts[stage.source] if stage.source else None)
            for stage in experiment.graph.chain(name)
        ]
    )


def versions() -> dict[str, str]:
    """Versions of what shapes a result."""
    return {name: _version(name) for name in LIBRARIES}


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"  # Stagewise itself, used from a checkout
