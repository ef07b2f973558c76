"""What runs the tasks of a plan: processes of this machine, or the workers of a Dask cluster."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias

from datasets.task import Note, WriteTask
from datasets.workers import run_jobs
from registry import InputError

OnVideo: TypeAlias = Callable[[int], None]
"""Called with a number of videos that are finished."""
Runner: TypeAlias = Callable[[Sequence[WriteTask], OnVideo], Generator[tuple[int, Note]]]
"""Runs jobs; gives the place of each among them and its note, whichever is ready first."""


def local(workers: int) -> Runner:
    """Run jobs in ``workers`` processes of this machine."""
    return functools.partial(_run_local, workers)


def _run_local(workers: int, jobs: Sequence[WriteTask], on_video: OnVideo) -> Generator[tuple[int, Note]]:
    finished = [0] * len(jobs)

    def count(job: int, videos: int) -> None:
        # A job that is run again begins with videos that were counted.
        on_video(max(0, videos - finished[job]))
        finished[job] = max(finished[job], videos)

    for number, note in run_jobs(jobs, workers, on_step=count):
        count(number, len(jobs[number].task.videos))
        yield number, note


def dask(address: str) -> Runner:
    """Run jobs on the Dask cluster whose scheduler is at ``address``; each of its threads runs one at a time.

    Raises:
        InputError: on ``--scheduler``, when Dask is not installed or no scheduler answers.
    """
    try:
        import distributed
    except ModuleNotFoundError:
        raise InputError.of("--scheduler", "Dask is not installed", allowed="pip install 'stagewise[dask]'") from None
    # In a thread, since this one may have an event loop of its own, as a notebook's has.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, _ask(distributed, address)).result()
    return functools.partial(_run_dask, distributed, address)


async def _ask(distributed: Any, address: str) -> None:
    """Refuse an address where no scheduler answers: a client made in vain complains once more when it ends."""
    try:
        async with distributed.rpc(address) as scheduler:
            kind = (await scheduler.identity()).get("type")
    except (OSError, ValueError) as error:
        what = f"no Dask scheduler answers at {address!r} ({error})"
        raise InputError.of("--scheduler", what, allowed="an address such as tcp://HOST:8786") from None
    if kind != "Scheduler":
        raise InputError.of("--scheduler", f"what answers at {address!r} is a {kind} and no scheduler")


def _run_dask(
    distributed: Any, address: str, jobs: Sequence[WriteTask], on_video: OnVideo
) -> Generator[tuple[int, Note]]:
    try:
        client = distributed.Client(address, set_as_default=False)
    except (OSError, ValueError) as error:
        raise InputError.of("--scheduler", f"no Dask scheduler answers at {address!r} ({error})") from None
    with client:
        futures = {
            client.submit(run_one, job, pure=False, key=f"shards-{job.task.number}-{id(jobs)}"): number
            for number, job in enumerate(jobs)
        }
        try:
            for future in distributed.as_completed(futures, loop=client.loop):
                number = futures[future]
                note = _result(distributed, future)
                on_video(len(jobs[number].task.videos))
                yield number, note
        finally:
            client.cancel(list(futures))


def _result(distributed: Any, future: Any) -> Note:
    try:
        note: Note = future.result()
    except distributed.KilledWorker as error:
        raise InputError.of("--scheduler", f"Dask's workers died again and again: {error}") from None
    return note


def run_one(job: WriteTask) -> Note:
    """Run one job in a process of its own, under this one."""
    [(_, note)] = run_jobs([job], workers=1)
    return note  # type: ignore[no-any-return]  # what a job gives is its own affair
