"""A planned store in the making: what is done of it, doing the rest, and finishing it."""

from __future__ import annotations

import contextlib
import functools
import shutil
import sys
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from datasets.merge import check_broken, merge, quarantined, start_store
from datasets.options import IngestOptions
from datasets.place import Ingested, Place
from datasets.plan import Plan, Task, save_plan, store_bytes
from datasets.planning import plan_store
from datasets.runners import Runner
from datasets.sources.base import Source
from datasets.store import WORK
from datasets.task import SCRATCH, Note, WriteTask, make_folders, read_note
from registry import InputError
from registry.progress import Progress

MAX_BROKEN = 0.1


@attrs.frozen
class Work:
    """A plan and the folder in which it is carried out."""

    place: Place
    source: Path
    """The folder of the videos."""
    plan: Plan
    options: IngestOptions
    max_broken: float

    @functools.cached_property
    def jobs(self) -> list[WriteTask]:
        """Every task of the plan as a job."""
        folder, source = self.place.partial, self.source.absolute()
        tasks = self.plan.tasks(self.options.settings().shard_frames)
        return [WriteTask(folder, source, task, self.options, self.plan.length) for task in tasks]

    def notes(self) -> dict[int, Note]:
        """The notes on the tasks that are done, by task number."""
        found = {job.task.number: read_note(job.folder, job.task) for job in self.jobs}
        return {number: note for number, note in found.items() if note is not None}

    def run(self, runner: Runner, share: slice = slice(None)) -> dict[int, Note]:
        """Do those jobs of a share that are not done; the notes on all that is done, by task number.

        Raises:
            InputError: too many videos are broken, or the disk has too little room.
        """
        make_folders(self.place.partial)
        done = self.notes()
        jobs = self.jobs[share]
        pending = [job for job in jobs if job.task.number not in done]
        self._announce(done, refuse=bool(pending))
        broken = self._check(done)
        videos = sum(len(job.task.videos) for job in jobs)
        before = videos - sum(len(job.task.videos) for job in pending)
        with Progress(total=videos, initial=before, unit="video", desc="ingesting") as progress:
            for place, note in runner(pending, progress.update) if pending else ():
                task = pending[place].task
                done[task.number] = note
                for video, reason, _ in note.left_out:
                    progress.note(f"left out: {self.source / task.videos[video].name}: {reason}")
                broken += sum(is_broken for _, _, is_broken in note.left_out)
                if broken > self.max_broken * self.plan.request["videos"]:
                    self._check(done)
        return done

    def merge(self, done: Mapping[int, Note]) -> Ingested:
        """Finish the store, all of whose tasks are done."""
        merge(self.place, self.plan, self.options, self._with_tasks(done), self.max_broken)
        return self.place.standing(fresh=True)

    def _with_tasks(self, done: Mapping[int, Note]) -> list[tuple[Task, Note]]:
        """The notes in the order of the tasks, with these."""
        return [(job.task, done[job.task.number]) for job in self.jobs if job.task.number in done]

    def _check(self, done: Mapping[int, Note]) -> int:
        """How many videos are known to be broken; refuses too many."""
        listed, broken = quarantined(self.plan, self._with_tasks(done))
        check_broken(self.place, self.plan, listed, broken, self.max_broken)
        return broken

    def _announce(self, done: Container[int], *, refuse: bool) -> None:
        """Say how large the shards will be, and refuse what the disk has no room for.

        It is the whole plan that must have room, whoever does it: other shares write to the same disk.
        """
        tasks = [job.task for job in self.jobs]
        pending = [task for task in tasks if task.number not in done]
        total, left = (store_bytes(self.plan, self.options, some) for some in (tasks, pending))
        # What others are writing just now, or were when they were killed, takes room that is counted already.
        free = shutil.disk_usage(self.place.partial).free + _bytes_in(self.place.partial / SCRATCH)
        frames = [video.frames for video in self.plan.videos]
        most = "at most " if self.options.codec == "zstd" else ""
        text = f"{len(frames)} videos, {sum(frames)} frames, {most}{_size(total)}"
        if left < total:
            text += f", of which {_size(total - left)} are done"
        sys.stderr.write(f"{self.place.path}: {text}; {_size(free)} are free\n")
        if refuse and left > free and self.options.codec == "none":
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
        if any(place.partial.iterdir()) and not (place.partial / WORK).exists():
            what = "this folder is in the way, and it is no unfinished ingestion; remove it, or name another store"
            raise InputError.of(str(place.partial), what)
        place.discard(place.partial)
    try:
        make_folders(place.partial)
        plan = plan_store(source, options, command, sizes, workers)
        _tell_left_out(source, plan)
        check_broken(place, plan, *quarantined(plan, ()), max_broken)
        if not plan.videos:
            raise InputError.of("SOURCE", f"all {len(source.videos)} videos were left out")
        start_store(place.partial, plan, options)
        save_plan(place.partial, plan)
    except BaseException:
        place.discard(place.partial)
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


def _bytes_in(folder: Path) -> int:
    """Bytes of the files in a folder, some of which may vanish meanwhile."""
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            total += path.lstat().st_size
    return total


def _size(count: float) -> str:
    """A number of bytes for people."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
