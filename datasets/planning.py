"""Looking at every video of a source, in parallel, to plan a store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from datasets.options import IngestOptions
from datasets.plan import Plan, make_plan
from datasets.probe import Timing, probe
from datasets.sources.base import Source
from datasets.video_file import VideoError
from datasets.workers import Begin, run_jobs
from registry.progress import Progress

BATCH = 64
"""Videos that one job looks at."""


@attrs.frozen
class _ProbeJob:
    """The job of probing some videos; see :class:`datasets.workers.Job`. Its steps are their places."""

    paths: tuple[Path, ...]

    def __call__(self, forbidden: Mapping[int, str], begin: Begin) -> list[Timing | str]:
        found: list[Timing | str] = []
        for place, path in enumerate(self.paths):
            begin(place)
            found.append(forbidden[place] if place in forbidden else _look(path))
        return found


def _look(path: Path) -> Timing | str:
    try:
        return probe(path)
    except VideoError as error:
        return error.reason


def plan_store(
    source: Source, options: IngestOptions, command: Mapping[str, Any], sizes: Sequence[int], workers: int
) -> Plan:
    """Probe the videos of ``source`` and decide where they go."""
    paths = [video.path for video in source.videos]
    batches = [tuple(paths[start : start + BATCH]) for start in range(0, len(paths), BATCH)]
    found: dict[int, list[Timing | str]] = {}
    with Progress(total=len(paths), unit="video", desc="looking at the videos") as progress:
        for number, timings in run_jobs([_ProbeJob(batch) for batch in batches], workers):
            found[number] = timings
            progress.update(len(timings))
    timings = [timing for number in range(len(batches)) for timing in found[number]]
    return make_plan(source, options, command, sizes, timings)
