"""Statistics for videos of other lengths than the trained clips', as a step of its own before generating."""

from __future__ import annotations

import shlex
from pathlib import Path

import torch
from mmengine.device import get_device
from torch import Tensor

from framework.artifact import MANIFEST, SOURCE, load_link, manifest_digest
from framework.cascade import Cascade, Link
from framework.statistics import (
    copy_statistics,
    estimate,
    is_whole,
    note_digest,
    note_path,
    noted_lengths,
    read_note,
    save,
    take,
)
from framework.trained import Trained, find
from registry.cli import note


def estimate_for(
    path: Path, frames: int, stage: str | None = None, passes: int | None = None, batch: int | None = None
) -> list[str]:
    """Estimate every stage's statistics for videos of ``frames`` frames of the last one, from the base upwards.

    What is there already, of as many passes, is not done again. The artifact of a later stage has those of the earlier
    ones, too, in the copies of their artifacts: it generates by itself. Where a later stage's were estimated on some
    that are replaced now, a note says so, and by which command they are made anew.

    Args:
        path: a run or an artifact.
        frames: length of the last stage's videos.
        stage: the last stage; default the graph's.
        passes: forward passes; default as many as the stage's training.
        batch: videos in each; default as many as the stage's training.

    Returns:
        A line for every stage.

    Raises:
        InputError: there is nothing trained, or it is damaged.
    """
    trained = find(path, stage)
    links: list[Link] = []
    for each in trained.stages:
        source = trained.folders[each.source] if each.source else None
        links.append(load_link(trained.folders[each.name], trained.experiment, each, source))
    lengths = Cascade(links).to(get_device()).lengths(frames)
    lines, below = [], None
    for place, length in enumerate(lengths):
        name, folder = links[place].name, trained.folders[links[place].name]
        lines.append(f"{name}: {_ready(trained, links[: place + 1], length, below, passes, batch)}")
        below = note_digest(folder, length)
    _into_copies(trained, lengths)
    options = {"--passes": passes, "--batch": batch}  # others would replace what has just been made
    given = [text for name, value in options.items() if value for text in (name, str(value))]
    for name, length in _useless(trained):
        command = ["python", "tools/statistics.py", str(path), "--stage", name, "--frames", str(length), *given]
        note(f"{name}: its statistics of {length} frames are of no use now; made anew by {shlex.join(command)}")
    return lines


def _useless(trained: Trained) -> list[tuple[str, int]]:
    """Stages and lengths whose statistics were estimated on those of a source that are no longer there, or useless."""
    artifacts, useless = _artifacts(trained), list[tuple[str, int]]()
    for stage in trained.experiment.graph.order():
        folder, source = artifacts.get(stage.name), artifacts.get(stage.source or "")
        if folder is None or source is None or not _same_artifact(source, folder / SOURCE):
            continue
        sound = [length for length in noted_lengths(source) if (stage.source, length) not in useless]
        there = {None, *(note_digest(source, length) for length in sound)}
        # Damaged ones are useless whatever they were estimated on, and say so where they are taken.
        whole = [length for length in noted_lengths(folder) if is_whole(folder, length)]
        useless += [(stage.name, length) for length in whole if read_note(folder, length).source not in there]
    return useless


def _into_copies(trained: Trained, lengths: list[int]) -> None:
    """Each artifact holds copies of those before it: what is taken elsewhere has the statistics, too.

    So have the run's artifacts of later stages than those that were asked for, which stand on these.
    """
    ready = dict(zip([stage.name for stage in trained.stages], lengths, strict=True))
    for name, folder in _artifacts(trained).items():
        copy = folder
        for stage in reversed(trained.experiment.graph.chain(name)[:-1]):
            copy /= SOURCE
            own = trained.folders.get(stage.name)
            # Only into copies of the very artifact: a later stage may have been trained on an earlier one.
            if stage.name in ready and own and _same_artifact(own, copy):
                copy_statistics(own, ready[stage.name], copy)


def _artifacts(trained: Trained) -> dict[str, Path]:
    """All that are there, those of stages after the ones that were asked for as well."""
    if trained.run is None:
        return trained.folders
    artifacts = trained.run.artifacts(trained.experiment)
    return {name: folder for name, folder in artifacts.items() if (folder / MANIFEST).is_file()}


def _same_artifact(one: Path, other: Path) -> bool:
    return (other / MANIFEST).is_file() and manifest_digest(one) == manifest_digest(other)


def _ready(
    trained: Trained,
    links: list[Link],
    length: int,
    below: str | None,
    passes: int | None,
    batch: int | None,
) -> str:
    """Have the last of ``links`` ready for videos of ``length`` frames; the ones before it are."""
    link = links[-1]
    folder, manifest = trained.folders[link.name], trained.manifests[link.name]
    passes, batch = passes or manifest.statistics_passes, batch or manifest.statistics_batch
    path = note_path(folder, length)
    if length != manifest.statistics_frames and not _same(folder, length, below, passes, batch):
        sources = Cascade(links[:-1]) if len(links) > 1 else None
        seed = trained.experiment.seed
        estimate(
            link.generator,
            sources,
            length,
            link.window,
            lambda count: _labels(manifest.class_counts, count),
            passes=passes,
            batch=batch,
            place=(seed, link.name),
        )
        save(link, folder, manifest, frames=length, passes=passes, batch=batch, seed=seed, source=below)
    return f"{take(link, folder, manifest, length, below)} in {path.parent if path.is_file() else folder}"


def _labels(counts: tuple[int, ...] | None, count: int) -> Tensor | None:
    """Classes drawn with the mix that the stage was trained on, from torch's global generator."""
    return None if counts is None else torch.multinomial(torch.tensor(counts, dtype=torch.float64), count, True)


def _same(artifact: Path, frames: int, below: str | None, passes: int, batch: int) -> bool:
    if not is_whole(artifact, frames):
        return False
    note = read_note(artifact, frames)
    return (note.source, note.passes, note.batch) == (below, passes, batch)
