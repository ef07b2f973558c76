"""An ingestion in shares, each done by a process of its own, as by the tasks of a Slurm array.

Whichever share comes first plans the store. Share ``i`` of ``n`` does the plan's tasks ``i``, ``i + n``,
``i + 2 n`` and so on; the last one to be done merges.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from datasets.disk import InUseError, locked
from datasets.options import IngestOptions
from datasets.place import Ingested, Place, differences
from datasets.plan import Plan, describe, load_plan, make_request
from datasets.runners import local
from datasets.sources.base import Source, check_folder
from datasets.sources.layouts import SourceFolder
from datasets.store import MANIFEST
from datasets.work import MAX_BROKEN, Work, begin
from datasets.workers import stop_resting
from registry import InputError

MERGING = 600.0
"""Seconds that a share waits for another one that is merging."""


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
    check_folder(source.path)
    place = Place.of(path)
    place.path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with locked(place.lock, shared=True, patience=MERGING):
            plan = _plan(place, source, options, workers, max_broken)
            if isinstance(plan, Ingested):
                return plan
            work = Work(place, source.path, plan, options, max_broken)
            work.run(local(workers), slice(share.index, None, share.count))
        missing = _missing(work)
        if place.stands(plan.request, overwrite=False):  # another share was the last, just now
            return place.standing(fresh=True)
        return None if missing else _merge_as_last(work)
    finally:
        stop_resting()


def merge_shares(
    source: SourceFolder, path: Path, options: IngestOptions, count: int, *, max_broken: float = MAX_BROKEN
) -> Ingested:
    """Merge what the shares have done.

    Raises:
        InputError: some are not done (says which), or are at work.
    """
    place = Place.of(path)
    with locked(place.lock):
        plan = _found(place, source, options)
        if isinstance(plan, Ingested):
            return plan
        if plan is None:
            raise InputError.of(str(path), "no share has been begun, so there is nothing to merge")
        work = Work(place, source.path, plan, options, max_broken)
        if missing := _missing(work):
            shares = sorted({number % count for number in missing})
            what = f"{len(missing)} of {len(work.jobs)} parts are not done"
            again = f"run --task-index {', '.join(map(str, shares))} of --task-count {count} again"
            raise InputError.of(str(path), f"{what}; {again}")
        return work.merge(work.notes())


def _plan(
    place: Place, source: SourceFolder, options: IngestOptions, workers: int, max_broken: float
) -> Plan | Ingested:
    """The plan, made by the first share while the others wait; the store where one is finished."""
    with locked(place.planning, patience=float("inf")):
        found = _found(place, source, options)
        if found is not None:
            return found
        listed, sizes = _listed(source)
        command = {**source.describe(), **describe(options)}
        return begin(place, listed, options, command, sizes, workers, max_broken)


def _found(place: Place, source: SourceFolder, options: IngestOptions) -> Plan | Ingested | None:
    """The plan to go on with, or the store when it is finished, or None when nothing is begun.

    Raises:
        InputError: what is there is of other options or videos.
    """
    place.settle()
    plan = load_plan(place.partial)
    if place.path.exists() or (place.partial / MANIFEST).is_file():
        # Only now, since to look at half a million videos takes its time.
        listed, sizes = _listed(source)
        request = make_request(listed, options, sizes)
        if place.stands(request, overwrite=False):
            return place.standing(fresh=False)
        if place.finish(request, overwrite=False):
            return place.standing(fresh=True)
    return None if plan is None else _checked(place, plan, {**source.describe(), **describe(options)})


def _listed(source: SourceFolder) -> tuple[Source, list[int]]:
    """The videos, and the bytes of each."""
    listed = source.list()
    return listed, [video.path.stat().st_size for video in listed.videos]


def _checked(place: Place, plan: Plan, command: Mapping[str, Any]) -> Plan:
    """``plan``, made by the same command."""
    if found := differences(plan.command, command):
        what = f"an unfinished store of another command stands here: {'; '.join(found)}; remove it, or name another"
        raise InputError.of(str(place.partial), what)
    return plan


def _merge_as_last(work: Work) -> Ingested | None:
    place = work.place
    try:
        with locked(place.lock):
            # Another share may have been as quick.
            if place.stands(work.plan.request, overwrite=False):
                return place.standing(fresh=True)
            return work.merge(work.notes())
    except InUseError:
        return None  # another share is about to find out that it is the last


def _missing(work: Work) -> list[int]:
    """Numbers of the tasks that are not done."""
    done = work.notes()
    return [job.task.number for job in work.jobs if job.task.number not in done]
