"""A planned store in the making: what is done of it, doing the rest, and finishing it."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from datasets.merge import check_broken, merge, quarantined, start_store
from datasets.options import IngestOptions
from datasets.plan import Plan, save_plan, store_bytes
from datasets.planning import plan_store
from datasets.runners import Runner
from datasets.sources.base import Source
from datasets.store import MANIFEST, QUARANTINE, WORK, Manifest, read_manifest
from datasets.task import LOCKS, NOTES, SCRATCH, Note, WriteTask, read_note
from registry import InputError
from registry.progress import Progress

MAX_BROKEN = 0.1


@attrs.frozen
class Ingested:
    """What became of an ingestion."""

    manifest: Manifest
    left_out: int
    """Videos that are in the store's quarantine list and not in the store."""
    fresh: bool
    """False when the store stood there already, with the same settings from the same videos."""


@attrs.frozen
class Place:
    """Where a store is to stand, and where it is made."""

    path: Path

    @property
    def partial(self) -> Path:
        """The unfinished store."""
        return self.path.with_name(f"{self.path.name}.partial")

    @property
    def lock(self) -> Path:
        """The lock file of those who write it."""
        return self.path.with_name(f"{self.path.name}.lock")

    def standing(self, *, fresh: bool) -> Ingested:
        """The store that is there."""
        return Ingested(read_manifest(self.path), len(json.loads((self.path / QUARANTINE).read_bytes())), fresh)


@attrs.frozen
class Work:
    """A plan and the folder in which it is carried out."""

    place: Place
    plan: Plan
    options: IngestOptions
    max_broken: float

    def jobs(self) -> list[WriteTask]:
        """Every task of the plan as a job."""
        tasks = self.plan.tasks(self.options.settings().shard_frames)
        return [WriteTask(self.place.partial, task, self.options, self.plan.length) for task in tasks]

    def run(self, jobs: Sequence[WriteTask], runner: Runner) -> dict[int, Note]:
        """Do those of ``jobs`` that are not done; the notes on all of them, by task number.

        Raises:
            InputError: too many videos are broken, or the disk has too little room.
        """
        notes = {job.task.number: read_note(job.folder, job.task) for job in jobs}
        done = {number: note for number, note in notes.items() if note is not None}
        pending = [job for job in jobs if job.task.number not in done]
        self._announce(jobs, pending)
        broken = self._check(jobs, done)
        videos = sum(len(job.task.videos) for job in jobs)
        before = videos - sum(len(job.task.videos) for job in pending)
        with Progress(total=videos, initial=before, unit="video", desc="ingesting") as progress:
            for place, note in runner(pending, progress.update) if pending else ():
                task = pending[place].task
                done[task.number] = note
                for video, reason, _ in note.left_out:
                    progress.note(f"left out: {task.videos[video].path}: {reason}")
                broken += sum(is_broken for _, _, is_broken in note.left_out)
                if broken > self.max_broken * self.plan.request["videos"]:
                    self._check(jobs, done)
        return done

    def merge(self, jobs: Sequence[WriteTask], done: Mapping[int, Note]) -> Ingested:
        """Finish the store, all of whose ``jobs`` are done."""
        notes = [(job.task, done[job.task.number]) for job in jobs]
        merge(self.place.partial, self.place.path, self.plan, self.options, notes, self.max_broken)
        return self.place.standing(fresh=True)

    def _check(self, jobs: Sequence[WriteTask], done: Mapping[int, Note]) -> int:
        """How many videos are known to be broken; refuses too many."""
        notes = [(job.task, done[job.task.number]) for job in jobs if job.task.number in done]
        listed, broken = quarantined(self.plan, notes)
        check_broken(self.place.path, self.plan, listed, broken, self.max_broken)
        return broken

    def _announce(self, jobs: Sequence[WriteTask], pending: Sequence[WriteTask]) -> None:
        """Say how large the shards will be, and refuse what the disk has no room for."""
        total, left = (store_bytes(self.plan, self.options, [job.task for job in some]) for some in (jobs, pending))
        free = shutil.disk_usage(self.place.partial).free
        frames = [video.frames for job in jobs for video in job.task.videos]
        most = "at most " if self.options.codec == "zstd" else ""
        text = f"{len(frames)} videos, {sum(frames)} frames, {most}{_size(total)}"
        if left < total:
            text += f", of which {_size(total - left)} are done"
        sys.stderr.write(f"{self.place.path}: {text}; {_size(free)} are free\n")
        if left > free and self.options.codec == "none":
            what = f"{_size(left)} are still to be written, and {_size(free)} are free"
            raise InputError.of(str(self.place.path), what)


def begin(
    place: Place,
    source: Source,
    options: IngestOptions,
    command: Mapping[str, Any],
    sizes: Sequence[int],
    workers: int,
    max_broken: float,
) -> Plan:
    """Plan the store and write the plan down; nothing stays when that fails.

    Args:
        place: of the store; what an earlier run left there unfinished is removed.
        source: the videos.
        options: what to make of them.
        command: what was typed.
        sizes: bytes of every video.
        workers: number of processes that look at the videos.
        max_broken: the share of videos that may be broken.

    Raises:
        InputError: something else is in the way, too many videos are broken, or none is left.
    """
    if place.partial.exists():
        if (place.partial / MANIFEST).exists() or (
            any(place.partial.iterdir()) and not (place.partial / WORK).exists()
        ):
            what = "this folder is in the way, and it is no unfinished ingestion; remove it, or name another store"
            raise InputError.of(str(place.partial), what)
        shutil.rmtree(place.partial)
    try:
        for folder in (NOTES, LOCKS, SCRATCH):
            (place.partial / folder).mkdir(parents=True)
        plan = plan_store(source, options, command, sizes, workers)
        _tell_left_out(source, plan)
        check_broken(place.path, plan, *quarantined(plan, ()), max_broken)
        if not plan.videos:
            raise InputError.of("SOURCE", f"all {len(source.videos)} videos were left out")
        start_store(place.partial, plan, options)
        save_plan(place.partial, plan)
    except BaseException:
        shutil.rmtree(place.partial)
        raise
    return plan


def _tell_left_out(source: Source, plan: Plan) -> None:
    """Name the videos that are broken or too short at sight; count those that the source itself leaves out."""
    paths = {video.name: video.path for video in source.videos}
    told = plan.left_out[len(source.left_out) :]
    sys.stderr.writelines(f"left out: {paths[each['name']]}: {each['reason']}\n" for each in told)
    if source.left_out:
        first = source.left_out[0]
        more = f"{len(source.left_out)} videos are missing or left out by the source's own lists"
        sys.stderr.write(f"{more} (such as {first.name}: {first.reason})\n")


def differences(held: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    """What is ``asked`` otherwise than ``held`` was, for people."""
    found = [
        f"{name} {held.get(name)!r}, not {value!r}"
        for name, value in asked.items()
        if held.get(name) != value and name != "source"
    ]
    return [*found, "other videos"] if "source" in asked and held.get("source") != asked["source"] else found


def _size(count: float) -> str:
    """A number of bytes for people."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
