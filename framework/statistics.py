"""Standing statistics: batch-norm statistics of every timestep of videos of one length (appendix A).

Those of the stage's own clip are part of its weights. Those of other lengths are estimated when somebody asks for
them, and kept in the artifact's ``statistics/`` folder: ``frames_00000400.safetensors``, and, written last, what it is
in ``frames_00000400.json``.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import torch
from safetensors.torch import load_file
from torch import Tensor

from components.clip import Span
from components.generators import Generator
from components.layers import Timeline, follow, standing_statistics
from framework.artifact import AVERAGE, GENERATOR, STATISTICS, Manifest, manifest_digest
from framework.cascade import Cascade, Link
from framework.checkpoint import file_digest, naming, sync, write_whole
from framework.plain_data import read_object, verified
from framework.randomness import reseed
from framework.tensor_file import save_tensors
from registry import InputError
from registry.checksum import checksummed
from registry.convert import structure, unstructure
from registry.progress import Progress

_BUFFERS = ("running_mean", "running_var", "batches_tracked")


@torch.no_grad()
def estimate(
    generator: Generator,
    sources: Cascade | None,
    frames: int,
    window: int,
    labels: Callable[[int], Tensor | None],
    *,
    passes: int,
    batch: int,
    place: tuple[int, str],
    before_pass: Callable[[], None] = lambda: None,
) -> None:
    """Estimate the statistics of ``generator`` for videos of ``frames`` frames, from noise of σ = 1.

    Args:
        generator: whose norms are set.
        sources: the stages before it; None for a base stage.
        frames: length of the videos.
        window: frames to compute at a time, where the generator says ``statistics_in_windows``.
        labels: gives the classes of so many videos, int64 ``(batch,)``; None when unconditional.
        passes: forward passes (200 in the paper).
        batch: videos in each.
        place: seed and name of the stage, where the random numbers come from.
        before_pass: called before each pass; may raise to stop.
    """
    seed, name = place
    device = next(generator.parameters()).device
    with standing_statistics(generator, frames):
        for number in Progress(iterable=range(passes), desc=f"statistics {name}", unit="pass"):
            before_pass()
            reseed(seed, name, "statistics", number)
            y = labels(batch)
            y = None if y is None else y.to(device)
            z = torch.randn(batch, generator.noise_dim, device=device)
            x_l = None
            if sources is not None:
                length = generator.source_span(Span.whole(frames))
                x_l = sources.last(sources.noise(batch), y, None if length is None else length.total)
            if not generator.statistics_in_windows:
                generator(z, y, None if x_l is None else torch.cat(list(x_l), dim=1), Span.whole(frames))
                continue
            for _ in generator.stream(z, y, x_l, frames, window):
                pass  # the norms have seen the frames; nobody else wants them


@attrs.frozen(kw_only=True)
class Note:
    """What a file of statistics is."""

    frames: int
    """Length of the videos."""
    passes: int
    batch: int
    seed: int
    artifact: str
    """Digest of the manifest of the artifact that they belong to."""
    weights: str
    """Digest of the weights that they were estimated with."""
    source: str | None
    """Digest of the note of the source's statistics; None where those were the source's own clip's, or no source."""
    digest: str
    """Of the file."""


def note_path(artifact: Path, frames: int) -> Path:
    """Where the note of the statistics for ``frames`` frames is, if there are any."""
    return artifact / STATISTICS / f"frames_{frames:08d}.json"


def noted_lengths(artifact: Path) -> list[int]:
    """The lengths for which the artifact has statistics, be they sound or not."""
    names = (re.fullmatch(r"frames_([0-9]{8,})\.json", path.name) for path in (artifact / STATISTICS).glob("*.json"))
    return sorted(int(name[1]) for name in names if name)


def note_digest(artifact: Path, frames: int) -> str | None:
    """The digest by which statistics of a later stage name these; None where there are none."""
    path = note_path(artifact, frames)
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


def save(link: Link, artifact: Path, manifest: Manifest, **facts: Any) -> Path:
    """Keep the statistics that ``link``'s generator has now in its artifact; returns the file."""
    note = note_path(artifact, facts["frames"])
    path = note.with_suffix(".safetensors")
    path.parent.mkdir(exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    save_tensors(partial, _statistics(link.generator), path)
    partial.replace(path)
    weights = manifest.digests.get(AVERAGE) or manifest.digests[GENERATOR]
    about = Note(artifact=manifest_digest(artifact), weights=weights, digest=file_digest(path), **facts)
    write_whole(note, json.dumps(checksummed(unstructure(about)), indent=2) + "\n")
    return path


def read_note(artifact: Path, frames: int) -> Note:
    """What the artifact's statistics for ``frames`` frames are, their file verified.

    Raises:
        InputError: they are missing, damaged, changed, or of another artifact or length.
    """
    path = note_path(artifact, frames)
    note = structure(verified(read_object(path), path), Note, str(path))
    if note.artifact != manifest_digest(artifact) or note.frames != frames:
        raise InputError.of(str(path), "belongs to another artifact or length", "tools/statistics.py run again")
    tensors = path.with_suffix(".safetensors")
    if not tensors.is_file() or file_digest(tensors) != note.digest:
        what = "is missing, or does not match its digest: damaged or changed"
        raise InputError.of(str(tensors), what, "tools/statistics.py run again")
    return note


def copy_statistics(artifact: Path, frames: int, to: Path) -> None:
    """Have the statistics for ``frames`` frames, if there are any, in a copy of the artifact as well."""
    note, copy = note_path(artifact, frames), note_path(to, frames)
    if not note.is_file() or (copy.is_file() and copy.read_bytes() == note.read_bytes() and is_whole(to, frames)):
        return
    copy.parent.mkdir(exist_ok=True)
    tensors = copy.with_suffix(".safetensors")
    partial = tensors.with_name(tensors.name + ".partial")
    with naming(tensors):
        shutil.copyfile(note.with_suffix(".safetensors"), partial)
    sync(partial)
    partial.replace(tensors)
    write_whole(copy, note.read_text())


def is_whole(artifact: Path, frames: int) -> bool:
    """Whether the artifact has sound statistics for ``frames`` frames."""
    try:
        read_note(artifact, frames)
    except (InputError, FileNotFoundError):
        return False
    return True


def take(link: Link, artifact: Path, manifest: Manifest, frames: int, source: str | None) -> str:
    """Have ``link`` normalise videos of ``frames`` frames: with statistics of that length, where there are any.

    Otherwise those of its own clip stand in, see :class:`components.layers.Timeline`.

    Args:
        link: the trained stage.
        artifact: its folder.
        manifest: of the artifact.
        frames: length of the videos.
        source: digest of the note of the source's statistics, None where the source uses its clip's.

    Returns:
        str: how the statistics are taken, for whoever reads a figure.

    Raises:
        InputError: the statistics are damaged, or were estimated on others of the source.
    """
    own = manifest.statistics_frames
    if frames == own:
        return f"of {own} frames, {manifest.statistics_passes} passes of {manifest.statistics_batch}"
    path = note_path(artifact, frames)
    if not path.is_file():
        future = link.generator.reach_of_ends().future
        timeline = Timeline(own, frames, own if future is None else future)
        follow(link.generator, timeline)
        return f"{timeline}, {manifest.statistics_passes} passes of {manifest.statistics_batch}"
    note = read_note(artifact, frames)
    if note.source != source:
        raise InputError.of(
            str(path), "was estimated on other statistics of the source stage", "tools/statistics.py run again"
        )
    link.generator.load_state_dict(load_file(path.with_suffix(".safetensors")), strict=False)
    return f"of {frames} frames, {note.passes} passes of {note.batch}"


def _statistics(generator: Generator) -> dict[str, Tensor]:
    return {name: value for name, value in generator.state_dict().items() if name.split(".")[-1] in _BUFFERS}
