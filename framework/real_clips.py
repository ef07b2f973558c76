"""Real videos to measure generated ones against: clips of a dataset as a stage's view sees them, at any length."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from components.clip import Span
from datasets import ClipSampler, VideoDataset
from framework.build import build_data_route
from framework.experiment import Experiment
from framework.graph import Stage
from framework.pixel_values import videos_of
from framework.randomness import derive
from registry import InputError

_LONG = 2**40
"""Frames of a video that is long enough for any view."""


class RealClips:
    """Clips of a dataset, viewed as the stage's real videos are, at ``frames`` frames.

    Each clip long enough is taken once, in an order and from a frame on that follow from the seed.

    Args:
        dataset: fit for the experiment's graph.
        experiment: the cascade.
        stage: whose videos they are.
        frames: frames of a video, after the views.
        seed: of the order.

    Raises:
        InputError: no clip is long enough.
    """

    def __init__(self, dataset: VideoDataset, experiment: Experiment, stage: Stage, frames: int, seed: int) -> None:
        self.dataset, self.frames = dataset, frames
        self._route = build_data_route(experiment.graph, stage)
        self._spans = [Span(0, frames, _LONG)]
        for view in reversed(self._route):
            self._spans.insert(0, view.input_span(self._spans[0], _LONG))
        needed = self._spans[0].stop
        lengths = dataset.lengths()
        if not (lengths >= needed).any():
            raise InputError.of(
                "--frames",
                f"{frames} frames of {stage.name} are made of {needed} frames of a clip, and no clip has as many",
                f"clips of that length, or a length for which {lengths.max(initial=0)} frames suffice",
            )
        self._sampler = ClipSampler(lengths, needed, derive(seed, stage.name, "evaluation"), short="skip")

    def __len__(self) -> int:
        """How many clips are long enough."""
        return len(self._sampler)

    def videos(self, numbers: Sequence[int], device: torch.device) -> Tensor:
        """The videos ``(B, frames, C, H, W)``, values in [-1, 1]."""
        first = self._spans[0]
        windows = []
        for number in numbers:
            clip, start = self._sampler(number)
            windows.append(self.dataset.window(clip, start + first.start, first.frames))
        video = videos_of(torch.from_numpy(np.stack(windows)), device)
        for view, span in zip(self._route, self._spans[1:], strict=True):
            video = view.forward_span(video, span)
        return video

    def labels(self, numbers: Sequence[int]) -> Tensor | None:
        """The videos' classes, int64 ``(B,)``; None when they have none."""
        labels = [self.dataset.label(self._sampler(number)[0]) for number in numbers]
        return None if any(label is None for label in labels) else torch.tensor(labels)
