"""From a folder of videos to a clip store: plan, do what is not done yet, merge.

All of it happens in ``STORE.partial``, which becomes the store by being renamed. Whenever a run is ended, the
same call goes on where it was, and what stands at the end is the same, byte for byte.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datasets.disk import locked
from datasets.merge import put_finished
from datasets.options import IngestOptions
from datasets.plan import Plan, describe, load_plan, make_request
from datasets.runners import Runner, local
from datasets.sources.layouts import SourceFolder
from datasets.store import MANIFEST, read_manifest
from datasets.task import SCRATCH
from datasets.work import MAX_BROKEN, Ingested, Place, Work, begin, differences
from datasets.workers import stop_resting
from registry import InputError


def ingest(
    source: SourceFolder,
    path: Path,
    options: IngestOptions,
    *,
    workers: int = 2,
    runner: Runner | None = None,
    max_broken: float = MAX_BROKEN,
    overwrite: bool = False,
) -> Ingested:
    """Decode the videos of ``source`` into a store at ``path``.

    The store appears whole at the end or not at all; the same videos and options give the same bytes.
    Videos that are broken or too short are told on stderr and listed in the store's ``quarantine.json``.

    Args:
        source: the videos.
        path: where the store is to stand.
        options: what to make of them.
        workers: number of processes on this machine.
        runner: what decodes, if not those processes.
        max_broken: the share of videos that may turn out to be broken.
        overwrite: replace the store that stands at ``path`` or its unfinished part, if it is another one.

    Raises:
        InputError: another process writes this store, something else stands at ``path``, too many videos are
            broken, none is left, or the disk has too little room.
    """
    listed = source.list()
    sizes = [video.path.stat().st_size for video in listed.videos]
    request = make_request(listed, options, sizes)
    place = Place(path)
    if _stands_already(path, request, overwrite):
        return place.standing(fresh=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with locked(place.lock):
            if _finish_renaming(place, request):
                return place.standing(fresh=True)
            plan = _resume(place, request, overwrite)
            if plan is None:
                command = {**source.describe(), **describe(options)}
                plan = begin(place, listed, options, command, sizes, workers, max_broken)
            work = Work(place, plan, options, max_broken)
            jobs = work.jobs()
            return work.merge(jobs, work.run(jobs, runner or local(workers)))
    finally:
        stop_resting()


def _resume(place: Place, request: Mapping[str, Any], overwrite: bool) -> Plan | None:
    """The plan that an earlier run left, if it is for the same store."""
    plan = load_plan(place.partial)
    if plan is None:
        return None
    if found := differences(plan.request, request):
        if not overwrite:
            what = f"an unfinished store of another kind stands here: {'; '.join(found)}"
            raise InputError.of(str(place.partial), f"{what}; go on with its own command, or use --overwrite")
        shutil.rmtree(place.partial)
        return None
    shutil.rmtree(place.partial / SCRATCH)
    (place.partial / SCRATCH).mkdir()
    return plan


def _finish_renaming(place: Place, request: Mapping[str, Any]) -> bool:
    """Put a store in its place whose ingestion was ended between its manifest and its renaming."""
    if not (place.partial / MANIFEST).is_file() or differences(read_manifest(place.partial).request, request):
        return False
    put_finished(place.partial, place.path)
    return True


def _stands_already(path: Path, request: Mapping[str, Any], overwrite: bool) -> bool:
    """Whether the store asked for is at ``path``; refuses to touch anything else without ``overwrite``."""
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return False
    if not (path / MANIFEST).is_file() and not (path / "zarr.json").is_file():
        raise InputError.of(str(path), "something that is no clip store stands here; name another place")
    try:
        held = read_manifest(path).request
    except InputError:
        if overwrite:
            return False
        raise
    found = differences(held, request)
    if found and not overwrite:
        what = f"another store stands here: {'; '.join(found)}; replace it with --overwrite"
        raise InputError.of(str(path), what)
    return not found
