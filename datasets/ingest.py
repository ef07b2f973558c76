"""From a folder of videos to a clip store: plan, do what is not done yet, merge.

All of it happens in ``STORE.partial``, which becomes the store by being renamed. Whenever a run is ended, the
same call goes on where it was, and what stands at the end is the same, byte for byte.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datasets.disk import locked
from datasets.options import IngestOptions
from datasets.place import Ingested, Place, differences
from datasets.plan import Plan, describe, load_plan, make_request
from datasets.runners import Runner, local
from datasets.sources.layouts import SourceFolder
from datasets.work import MAX_BROKEN, Work, begin
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
    place = Place.of(path)
    if place.stands(request, overwrite=overwrite) and place.tidy():
        return place.standing(fresh=False)
    place.path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with locked(place.lock):
            place.settle()
            # Again, since another process may just have put it there.
            if place.stands(request, overwrite=overwrite):
                return place.standing(fresh=False)
            if place.finish(request, overwrite=overwrite):
                return place.standing(fresh=True)
            plan = _resume(place, request, overwrite)
            if plan is None:
                command = {**source.describe(), **describe(options)}
                plan = begin(place, listed, options, command, sizes, workers, max_broken)
            work = Work(place, source.path, plan, options, max_broken)
            return work.merge(work.run(runner or local(workers)))
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
        place.discard(place.partial)
        return None
    return plan
