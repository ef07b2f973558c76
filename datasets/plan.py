"""The plan of an ingestion: which clip goes where, and which task writes which shards.

It is a function of the videos and the options alone, is written down before the first video is decoded, and
never changes. A task is a shard, or the shards of a long clip and of those that still fit behind it; whatever
runs the tasks, in whatever order, the bytes are the same.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from datasets.disk import write_whole
from datasets.options import IngestOptions
from datasets.packing import Packer
from datasets.probe import Timing
from datasets.shard_file import shard_bytes
from datasets.sources.base import Source
from datasets.store import WORK, to_json
from registry import InputError

PLAN = f"{WORK}/plan.json"
VERSION = 2


@attrs.frozen
class PlannedVideo:
    """A video and its place in the store."""

    number: int
    """Its place among the videos of the source."""
    name: str
    """Its path inside the source, which may have been moved since."""
    bytes: int
    label: int
    """-1 when it has none."""
    attributes: Mapping[str, str]
    offset: int
    """Its first frame in the levels."""
    frames: int
    """How many it has room for."""
    step: int | None
    """See :class:`datasets.probe.Timing`."""
    seconds: float
    """How long the video is; 0 when it does not say."""


@attrs.frozen
class Task:
    """What one writer writes."""

    number: int
    first: int
    """Number of its first shard."""
    shards: int
    videos: tuple[PlannedVideo, ...]


@attrs.frozen
class Plan:
    """Everything that is decided before decoding."""

    command: Mapping[str, Any]
    """What was typed; the same again goes on with the plan."""
    request: Mapping[str, Any]
    """What the store is made of, for its manifest."""
    classes: tuple[str, ...] | None
    videos: tuple[PlannedVideo, ...]
    left_out: tuple[Mapping[str, str], ...]
    """``name`` and ``reason`` of the videos that have no place."""
    broken: int
    """How many of those are broken."""
    length: int
    """Frames of the levels in time."""

    def tasks(self, shard_frames: int) -> list[Task]:
        """The tasks, in the order of their shards."""
        runs: list[list[PlannedVideo]] = []
        reached = -1
        for video in self.videos:
            if video.offset // shard_frames > reached:
                runs.append([])
            runs[-1].append(video)
            reached = (video.offset + video.frames - 1) // shard_frames
        return [_task(number, run, shard_frames) for number, run in enumerate(runs)]


def make_plan(
    source: Source,
    options: IngestOptions,
    command: Mapping[str, Any],
    sizes: Sequence[int],
    timings: Sequence[Timing | str],
) -> Plan:
    """Decide where the videos go.

    Args:
        source: the videos.
        options: what to make of them.
        command: what was typed.
        sizes: bytes of every video.
        timings: of every video, or the reason why it has none.
    """
    packer = Packer(options.settings().shard_frames)
    planned: list[PlannedVideo] = []
    left_out = [{"name": each.name, "reason": each.reason} for each in source.left_out]
    broken = 0
    for number, (video, size, timing) in enumerate(zip(source.videos, sizes, timings, strict=True)):
        if isinstance(timing, str):
            broken += 1
            left_out.append({"name": video.name, "reason": timing})
            continue
        frames = -(-timing.frames // options.stride)
        if frames < options.min_frames:
            left_out.append({"name": video.name, "reason": too_short(frames, options)})
            continue
        label = -1 if video.label is None else video.label
        offset = packer.place(frames)
        planned.append(
            PlannedVideo(
                number,
                video.name,
                size,
                label,
                video.attributes,
                offset,
                frames,
                timing.step,
                timing.seconds,
            )
        )
    request = make_request(source, options, sizes)
    return Plan(command, request, source.classes, tuple(planned), tuple(left_out), broken, packer.length)


def too_short(frames: int, options: IngestOptions) -> str:
    """Why a clip of ``frames`` frames is left out."""
    return f"has {frames} frames at stride {options.stride}, fewer than {options.min_frames}"


def make_request(source: Source, options: IngestOptions, sizes: Sequence[int]) -> dict[str, Any]:
    """What the store is asked to be, as the manifest keeps it."""
    videos = zip(source.videos, sizes, strict=True)
    described = [[video.name, size, video.label, dict(video.attributes)] for video, size in videos]
    left_out = [[each.name, each.reason] for each in source.left_out]
    return {
        "videos": len(source.videos),
        "source": hashlib.sha256(to_json([described, left_out, source.classes])).hexdigest(),
        **describe(options),
    }


def describe(options: IngestOptions) -> dict[str, Any]:
    """The options as plain data."""
    return {**attrs.asdict(options, recurse=False), "levels": [str(view) for view in options.levels]}


def store_bytes(plan: Plan, options: IngestOptions, tasks: Sequence[Task]) -> int:
    """Bytes of the shards of ``tasks``; with codec ``zstd`` they will have fewer."""
    settings = options.settings()
    total = 0
    for level in options.all_levels():
        frame = level.height * level.width * settings.channels
        for task in tasks:
            for shard in range(task.first, task.first + task.shards):
                held = min(settings.shard_frames, plan.length - shard * settings.shard_frames)
                total += shard_bytes(held, frame, settings)
    return total


def save_plan(folder: Path, plan: Plan) -> None:
    """Write the plan down in the unfinished store ``folder``."""
    fields = attrs.asdict(plan, recurse=False)
    # Columns and not dicts: half a million videos are read in a second.
    fields["videos"] = [[getattr(video, name) for name in _COLUMNS] for video in plan.videos]
    data = {"version": VERSION, **fields}
    write_whole(folder / PLAN, json.dumps(data, ensure_ascii=False).encode())


def load_plan(folder: Path) -> Plan | None:
    """The plan of the unfinished store ``folder``, None when it has none yet.

    Raises:
        InputError: it was made by another version.
    """
    try:
        data = json.loads((folder / PLAN).read_bytes())
    except FileNotFoundError:
        return None
    if data.pop("version") != VERSION:
        raise InputError.of(str(folder / PLAN), "was made by another version; remove the unfinished store")
    data["videos"] = tuple(PlannedVideo(*row) for row in data["videos"])
    data["left_out"] = tuple(data["left_out"])
    data["classes"] = None if data["classes"] is None else tuple(data["classes"])
    return Plan(**data)


_COLUMNS = tuple(field.name for field in attrs.fields(PlannedVideo))


def _task(number: int, videos: Sequence[PlannedVideo], shard_frames: int) -> Task:
    first = videos[0].offset // shard_frames
    last = (videos[-1].offset + videos[-1].frames - 1) // shard_frames
    return Task(number, first, last - first + 1, tuple(videos))
