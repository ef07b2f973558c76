"""What training reads: a stage's batches, the loader's batches, and an opened store."""

from __future__ import annotations

import multiprocessing
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import torch

from components.clip import Clip
from datasets import ClipSampler, ClipStore
from framework import Stage, StageGraph, use
from framework.build import build_data_route, build_stage_view
from framework.spec_file import load_spec
from framework.stage_data import PositionBatches, StageClips, StageData
from framework.stage_loader import StageLoader

from clip_store_rows.data import SIZE, WINDOW, Data, add_level, synthetic_index
from clip_store_rows.measuring import Ratio, check, compare, compare_times, seconds

ROOT = Path(__file__).resolve().parents[2]
BATCH = 16
BATCHES = 100
STAGE_BATCHES = 10
CLIPS = 500_000


def level_views(data: Data, runs: int) -> Ratio:
    """Batches of the first stage of ``bdd_3stage`` from its level, against the views of whole frames."""
    task = _FirstStage(data)
    return compare(lambda: task.run(task.batches(task.store)), lambda: task.run(task.views()), max(3, runs // 5))


def level_picked(data: Data, runs: int) -> Ratio:
    """The same against what training does without the level: picking frames and pixels while reading."""
    task = _FirstStage(data)
    return compare(lambda: task.run(task.batches(task.store)), lambda: task.run(task.batches(task.whole)), runs)


class _FirstStage:
    """Batches of the first stage of ``bdd_3stage``, 25 frames of 32x32 at stride 8, made in three ways."""

    def __init__(self, data: Data) -> None:
        self.graph = load_spec(str(ROOT / "experiments" / "bdd_3stage.py"))[0].graph
        stage = self.graph["base"]
        self.route = build_data_route(self.graph, stage)
        self.data = StageData(self.graph, stage, self.route, build_stage_view(stage))
        self.store = add_level(data.folder / "none.zarr", self.data.picked.space)
        self.whole = ClipStore(path=str(self.store.path))
        self.whole.levels = ("",)  # as if there were no other
        for ways in zip(self.batches(self.store), self.batches(self.whole), self.views(), strict=True):
            check(all(torch.equal(ways[0], way) for way in ways), "pixels differ")

    def batches(self, store: ClipStore) -> Iterator[torch.Tensor]:
        """As training makes them of what ``store`` holds."""
        clips = StageClips(store, self.graph, self.data, seed=0)
        for batch in StageLoader(clips, PositionBatches(0, STAGE_BATCHES, 1, BATCH), 0):
            yield self.data.videos(batch, torch.device("cpu"))

    def views(self) -> Iterator[torch.Tensor]:
        """By the views, of whole windows of whole frames."""
        sampler = ClipSampler(self.whole.lengths(), self.graph.clip.frames, 0)
        for batch in PositionBatches(0, STAGE_BATCHES, 1, BATCH):
            windows = [self.whole.window(*sampler(position), self.graph.clip.frames) for position in batch]
            video = torch.from_numpy(np.stack(windows)).permute(0, 1, 4, 2, 3).div(127.5).sub_(1.0)
            for view in self.route:
                video = view(video)
            yield video

    def run(self, batches: Iterator[torch.Tensor]) -> None:
        """Make them all."""
        for videos in batches:
            check(videos.shape == (BATCH, 25, 3, 32, 32), "a batch has another shape")


def loader(kept: int) -> Callable[[Data, int], Ratio]:
    """Windows a second of a loader with two workers, over those of two processes that do nothing but read.

    Args:
        kept: how many windows each of the two processes keeps; 1 is each written over the last, in its cache.
    """
    return lambda data, runs: _loader(data, runs, kept)


def _loader(data: Data, runs: int, kept: int) -> Ratio:
    store = data.store()
    graph = StageGraph(
        clip=Clip(WINDOW, SIZE, SIZE), stages=[Stage("only", clip=Clip(WINDOW, SIZE, SIZE), generator=use("none"))]
    )
    frames = StageData(graph, graph["only"], [], None)
    clips = StageClips(store, graph, frames, seed=0)
    return compare_times(lambda: _load(clips, 2 * data.clips), lambda: _read(data, store, kept), max(3, runs // 2))


def _load(clips: StageClips, warm: int) -> float:
    """Seconds for ``BATCHES`` batches, from when the workers have read ``warm`` of them."""
    batches = iter(StageLoader(clips, PositionBatches(0, warm + BATCHES, 1, BATCH), 2))
    for _ in range(warm):
        next(batches)
    return seconds(lambda: [next(batches)["frames"].shape for _ in range(BATCHES)])


def _read(data: Data, store: ClipStore, kept: int) -> float:
    """Seconds in which two processes read as many windows, from when they have read every clip."""
    context = multiprocessing.get_context("fork")
    ends = [context.Pipe() for _ in range(2)]
    processes = [context.Process(target=_reader, args=(data, store, kept, end)) for _, end in ends]
    for process in processes:
        process.start()
    for end, _ in ends:
        end.recv()

    def both() -> None:
        for end, _ in ends:
            end.send(BATCHES * BATCH // 2)
        for end, _ in ends:
            end.recv()

    taken = seconds(both)
    for process in processes:
        process.join()
    return taken


def _reader(data: Data, store: ClipStore, kept: int, end: Connection) -> None:
    """Read every clip, then windows when told how many."""
    out = np.ones((kept, WINDOW, SIZE, SIZE, 3), np.uint8)
    for clip in range(data.clips):
        store.window(clip, 0, store.frames(clip))
    end.send("ready")
    count = end.recv()
    for number, (clip, start) in enumerate((data.starts * (count // len(data.starts) + 1))[:count]):
        store.strided(clip, start, WINDOW, 1, 0, out[number % kept])
    end.send("done")


def opening(data: Data, runs: int) -> str:
    """Seconds and memory to open a store of half a million clips in a fresh process, imports aside."""
    path = synthetic_index(data.folder / "many.zarr", CLIPS)
    code = (
        "import re, sys, time\n"
        "from pathlib import Path\n"
        "from datasets import ClipStore\n"
        "def peak():\n"
        "    return re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1]\n"
        "before = peak()\n"
        "start = time.perf_counter()\n"
        "store = ClipStore(path=sys.argv[1])\n"
        "assert store.frames(len(store) - 1)\n"
        "seconds = time.perf_counter() - start\n"
        "print(seconds, before, peak())"
    )
    found = []
    for _ in range(max(3, runs // 3)):
        done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
        found.append([float(value) for value in done.stdout.split()])
    taken, before, after = (statistics.median(values) for values in zip(*found, strict=True))
    return f"{taken:.2f} s, {after / 1024:.0f} MB of which {before / 1024:.0f} MB are Python and what it imports"
