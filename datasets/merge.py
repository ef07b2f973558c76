"""The last step of an ingestion: from the notes on all tasks to index, quarantine list and manifest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from datasets.disk import write_whole
from datasets.options import IngestOptions
from datasets.place import Place
from datasets.plan import Plan, PlannedVideo, Task
from datasets.skeleton import Clips, Contents, write_levels, write_rest
from datasets.store import to_json
from datasets.task import SCRATCH, Note
from registry import InputError


def contents_of(plan: Plan, options: IngestOptions) -> Contents:
    """What the store of ``plan`` is, apart from its clips."""
    return Contents(
        options.settings(), options.all_levels(), plan.length, plan.classes, plan.request, _attributes(plan.videos)
    )


def start_store(folder: Path, plan: Plan, options: IngestOptions) -> None:
    """The parts of the store that are known before decoding."""
    write_levels(folder, contents_of(plan, options))


def check_broken(place: Place, plan: Plan, quarantine: Sequence[Mapping[str, str]], broken: int, most: float) -> None:
    """Refuse too many broken videos; the list of them is written beside the store.

    Raises:
        InputError: on ``--max-broken``, when more than this part of the videos is broken.
    """
    total = plan.request["videos"]
    if broken > most * total:
        # Beside the store nothing is swept up, and several shares may find out at once.
        write_whole(place.report, to_json(list(quarantine)), aside=place.partial / SCRATCH)
        what = f"{broken} of {total} videos cannot be decoded, more than a fraction of {most:g}"
        raise InputError.of("--max-broken", f"{what}; {place.report} lists them")


def quarantined(plan: Plan, done: Sequence[tuple[Task, Note]]) -> tuple[list[Mapping[str, str]], int]:
    """``name`` and ``reason`` of every video left out so far, and how many of them are broken."""
    listed = list(plan.left_out)
    broken = plan.broken
    for task, note in done:
        listed += [{"name": task.videos[place].name, "reason": reason} for place, reason, _ in note.left_out]
        broken += sum(is_broken for _, _, is_broken in note.left_out)
    return sorted(listed, key=lambda each: each["name"]), broken


def merge(
    place: Place, plan: Plan, options: IngestOptions, done: Sequence[tuple[Task, Note]], most_broken: float
) -> None:
    """Make a store of the unfinished one, all of whose tasks are done, and put it in its place.

    Raises:
        InputError: too many videos are broken, or none is left.
    """
    quarantine, broken = quarantined(plan, done)
    check_broken(place, plan, quarantine, broken, most_broken)
    shards = {name: digest for _, note in done for name, (digest, _) in note.files.items()}
    clips = _clips(plan, done)
    if not clips.names:
        raise InputError.of("SOURCE", f"all {plan.request['videos']} videos were left out")
    write_rest(place.partial, contents_of(plan, options), clips, quarantine, shards)
    place.put()


def _clips(plan: Plan, done: Sequence[tuple[Task, Note]]) -> Clips:
    vocabulary = _attributes(plan.videos)
    places = {name: {value: place for place, value in enumerate(values)} for name, values in vocabulary.items()}
    clips = Clips(attributes={name: [] for name in vocabulary})
    for task, note in done:
        for place, frames in note.clips:
            video = task.videos[place]
            label = None if video.label < 0 else video.label
            clips.append(video.name, video.offset, frames, label, video.seconds * frames / video.frames)
            for name, column in clips.attributes.items():
                value = video.attributes.get(name)
                column.append(-1 if value is None else places[name][value])
    return clips


def _attributes(videos: Sequence[PlannedVideo]) -> dict[str, tuple[str, ...]]:
    """The attributes that any video has, and their values."""
    values: dict[str, set[str]] = {}
    for video in videos:
        for name, value in video.attributes.items():
            values.setdefault(name, set()).add(value)
    return {name: tuple(sorted(found)) for name, found in sorted(values.items())}
