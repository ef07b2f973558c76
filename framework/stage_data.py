"""From a dataset to the batches one stage trains on: which windows, read from where, viewed how.

What the views of a stage's data merely pick is picked at reading: only the frames that are kept are read,
and from the smallest level of the store that holds their pixels. Values are those of the views themselves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from components.clip import Clip, Span
from components.views import View, flatten, pick
from datasets import ClipSampler, Frames, VideoDataset, positions
from framework.graph import Stage, StageGraph
from framework.pixel_values import videos_of
from framework.stored_views import choose_level


class StageData:
    """Where a stage's windows lie in its clip and in the data, and the views between the two.

    Args:
        graph: the cascade.
        stage: the one that trains.
        route: the views from the graph's clip to the stage's, in order of application.
        view: the stage's edge to its source; None in the base stage.
    """

    def __init__(self, graph: StageGraph, stage: Stage, route: list[View], view: View | None) -> None:
        self.conditional = graph.classes is not None
        self.frames = stage.training_clip.frames
        self.total = stage.clip.frames
        self._route = flatten(route)
        self._lengths = _lengths(graph.clip, self._route)
        self.picked = pick(self._route)
        self._step = 1 if view is None else view.time

    @property
    def starts(self) -> int:
        """How many windows the clip has: one at every whole frame of the source."""
        return (self.total - self.frames) // self._step + 1

    def window(self, number: int) -> Span:
        """The ``number``-th window, as frames of the stage's clip."""
        start = number * self._step
        return Span(start, start + self.frames, self.total)

    def draw_window(self) -> Span:
        """A window drawn uniformly (section 3.2) from torch's global generator."""
        return self.window(int(torch.randint(self.starts, ())))

    def spans(self, window: Span) -> list[Span]:
        """The frames that ``window`` is made of: in the data's clip first, then after each view of the route."""
        spans = [window]
        for view, length in zip(reversed(self._route), reversed(self._lengths), strict=True):
            spans.insert(0, view.input_span(spans[0], length))
        return spans

    def videos(self, batch: Mapping[str, Any], device: torch.device) -> Tensor:
        """A batch of windows of the stage's clip, made of the loader's frames on ``device``.

        Args:
            batch: ``frames``, uint8 ``(B, T, H, W, C)``, every ``picked.time``-th frame of a window of the
                data and every ``picked.space``-th of its pixels.
            device: where the views are computed.

        Returns:
            Tensor: ``(B, window, C, H, W)``, values in [-1, 1].
        """
        video = videos_of(batch["frames"], device)
        # All windows of a batch have one length, and views treat every place of a clip alike.
        for view, span in zip(self.picked.rest, self.spans(self.window(0))[1:], strict=True):
            video = view.forward_span(video, span)
        return video

    def labels(self, batch: Mapping[str, Any], device: torch.device) -> Tensor | None:
        """Class indices ``(B,)`` of the loader's batch, on ``device``; None when unconditional."""
        labels: Tensor = batch["label"]
        return labels.to(device, non_blocking=True) if self.conditional else None


class StageClips(Dataset[dict[str, Any]]):
    """What stands at each position of a stage's training sequence: a pure function of seed and position."""

    def __init__(self, dataset: VideoDataset, graph: StageGraph, data: StageData, seed: int) -> None:
        self.dataset = dataset
        self._data = data
        self._level, self._pixels = choose_level(dataset.levels, data.picked.space)
        self._sampler = ClipSampler(dataset.lengths(), graph.clip.frames, seed, short=dataset.short)
        needed = [data.spans(data.window(number))[0] for number in range(data.starts)]
        self._starts = [span.start for span in needed]
        frames = needed[0].frames // data.picked.time
        space = data.picked.space
        self.shape = (frames, dataset.height // space, dataset.width // space, dataset.channels)

    def __getitem__(self, position: int) -> dict[str, Any]:
        """What :meth:`StageData.videos` takes of one window, uint8 ``(T, H, W, C)``, and its clip's label."""
        frames = torch.empty(self.shape, dtype=torch.uint8)
        return {"label": self.read(position, frames.numpy()), "frames": frames}

    def read(self, position: int, out: Frames) -> int:
        """Write the frames at ``position`` into ``out``, uint8 of ``shape``, and return their label; -1 is none."""
        clip, start = self._sampler(position)
        start += self._starts[self._sampler.draw(position, len(self._starts))]
        where = (clip, start, len(out), self._data.picked.time, self._level)
        if self._pixels == 1:
            self.dataset.strided(*where, out=out)
        else:
            out[:] = self.dataset.strided(*where)[:, :: self._pixels, :: self._pixels]
        label = self.dataset.label(clip)
        return -1 if label is None else label

    def labels(self, count: int, generator: torch.Generator) -> Tensor:
        """Labels of ``count`` clips drawn with replacement, int64 ``(count,)``: the mix of classes that trains."""
        places = torch.randint(len(self._sampler), (count,), generator=generator)
        return torch.tensor([self.dataset.label(int(self._sampler.clips[place])) for place in places])

    def class_counts(self) -> tuple[int, ...]:
        """How many of the clips are of each class."""
        counts = Counter(self.dataset.label(int(clip)) for clip in self._sampler.clips)
        return tuple(counts[label] for label in range(len(self.dataset.classes or ())))


class PositionBatches:
    """The positions of each batch from iteration ``start`` on; starting late costs nothing.

    Args:
        start: the first iteration.
        stop: the iteration after the last.
        per_iteration: batches in an iteration.
        batch_size: over all processes together.
        rank: this process.
        world: number of processes.
    """

    def __init__(
        self, start: int, stop: int, per_iteration: int, batch_size: int, rank: int = 0, world: int = 1
    ) -> None:
        self._steps = range(start * per_iteration, stop * per_iteration)
        self._share = (batch_size, rank, world)
        self.per_iteration = per_iteration
        self.size = batch_size // world

    def __iter__(self) -> Iterator[list[int]]:
        """Every batch as a list of positions."""
        return (list(positions(step, *self._share)) for step in self._steps)

    def __len__(self) -> int:
        """Number of batches."""
        return len(self._steps)


def _lengths(clip: Clip, route: Sequence[View]) -> list[int]:
    """Frames of the clip that each view of the route is applied to."""
    lengths = []
    for view in route:
        lengths.append(clip.frames)
        clip = view.clip(clip)
    return lengths
