"""An ingestion in shares, each done by a process of its own, as by the tasks of a Slurm array.

Whichever share comes first plans the store. Share ``i`` of ``n`` does the plan's tasks ``i``, ``i + n``,
``i + 2 n`` and so on; the last one to be done merges.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from datasets.disk import InUseError, locked
from datasets.merge import put_finished
from datasets.options import IngestOptions
from datasets.plan import Plan, describe, load_plan
from datasets.runners import local
from datasets.sources.layouts import SourceFolder
from datasets.store import MANIFEST, read_manifest
from datasets.task import Note, WriteTask, read_note
from datasets.work import MAX_BROKEN, Ingested, Place, Work, begin, differences
from datasets.workers import stop_resting
from registry import InputError


@attrs.frozen
class Share:
    """Part ``index`` of ``count``."""

    index: int
    count: int


def ingest_share(
    source: SourceFolder,
    path: Path,
    options: IngestOptions,
    share: Share,
    *,
    workers: int = 2,
    max_broken: float = MAX_BROKEN,
) -> Ingested | None:
    """Do a share of an ingestion, and merge when no other share has anything left to do.

    Returns:
        What became of the ingestion; None while other shares are not done.

    Raises:
        InputError: as by :func:`datasets.ingest.ingest`, or this share is being done already.
    """
    place = Place(path)
    if _stands_already(place, options):
        return place.standing(fresh=False)
    if (place.partial / MANIFEST).is_file():
        return _finish_renaming(place, options)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with locked(place.lock, shared=True):
            plan = _plan(place, source, options, workers, max_broken)
            work = Work(place, plan, options, max_broken)
            jobs = work.jobs()
            work.run(jobs[share.index :: share.count], local(workers))
        missing = _missing(jobs)
        if not place.partial.exists():  # another share was the last, just now
            return place.standing(fresh=True)
        return None if missing else _merge_as_last(work, jobs)
    finally:
        stop_resting()


def merge_shares(
    source: SourceFolder, path: Path, options: IngestOptions, count: int, *, max_broken: float = MAX_BROKEN
) -> Ingested:
    """Merge what the shares have done.

    Raises:
        InputError: some are not done (says which), or are at work.
    """
    place = Place(path)
    if _stands_already(place, options):
        return place.standing(fresh=False)
    if (place.partial / MANIFEST).is_file():
        return _finish_renaming(place, options)
    with locked(place.lock):
        plan = load_plan(place.partial)
        if plan is None:
            raise InputError.of(str(path), "no share has been begun, so there is nothing to merge")
        work = Work(place, _checked(place, plan, {**source.describe(), **describe(options)}), options, max_broken)
        jobs = work.jobs()
        if missing := _missing(jobs):
            shares = sorted({number % count for number in missing})
            what = f"{len(missing)} of {len(jobs)} parts are not done"
            again = f"run --task-index {', '.join(map(str, shares))} of --task-count {count} again"
            raise InputError.of(str(path), f"{what}; {again}")
        return work.merge(jobs, _notes(jobs))


def _plan(place: Place, source: SourceFolder, options: IngestOptions, workers: int, max_broken: float) -> Plan:
    """The plan; made by the first share while the others wait, who need not look at the source."""
    command = {**source.describe(), **describe(options)}
    with locked(place.path.with_name(f"{place.path.name}.plan.lock"), patience=float("inf")):
        plan = load_plan(place.partial)
        if plan is not None:
            return _checked(place, plan, command)
        listed = source.list()
        sizes = [video.path.stat().st_size for video in listed.videos]
        return begin(place, listed, options, command, sizes, workers, max_broken)


def _checked(place: Place, plan: Plan, command: Mapping[str, Any]) -> Plan:
    """``plan``, made by the same command."""
    if found := differences(plan.command, command):
        what = f"an unfinished store of another command stands here: {'; '.join(found)}; remove it, or name another"
        raise InputError.of(str(place.partial), what)
    return plan


def _stands_already(place: Place, options: IngestOptions) -> bool:
    """Whether a store of these options is there: a share that comes late has nothing to do.

    Raises:
        InputError: something else stands there.
    """
    if not place.path.exists() or place.partial.exists():
        return False
    if not (place.path / MANIFEST).is_file():
        raise InputError.of(str(place.path), "something that is no clip store stands here; name another place")
    if found := differences(read_manifest(place.path).request, describe(options)):
        raise InputError.of(str(place.path), f"another store stands here: {'; '.join(found)}; remove it")
    return True


def _finish_renaming(place: Place, options: IngestOptions) -> Ingested:
    """Put a store in its place whose merging was ended between its manifest and its renaming."""
    with locked(place.lock):
        if found := differences(read_manifest(place.partial).request, describe(options)):
            what = f"a finished store of another command waits here: {'; '.join(found)}; remove it, or name another"
            raise InputError.of(str(place.partial), what)
        put_finished(place.partial, place.path)
    return place.standing(fresh=True)


def _merge_as_last(work: Work, jobs: Sequence[WriteTask]) -> Ingested | None:
    try:
        with locked(work.place.lock):
            # Another share may have been as quick.
            return work.merge(jobs, _notes(jobs)) if work.place.partial.exists() else work.place.standing(fresh=True)
    except InUseError:
        return None  # another share is about to find out that it is the last


def _missing(jobs: Sequence[WriteTask]) -> list[int]:
    """Numbers of the tasks that are not done."""
    return [job.task.number for job in jobs if read_note(job.folder, job.task) is None]


def _notes(jobs: Sequence[WriteTask]) -> dict[int, Note]:
    return {job.task.number: note for job in jobs if (note := read_note(job.folder, job.task)) is not None}
