"""Stages, cascades and datasets made directly, without a run, for the tests of this folder."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from components.clip import Clip, Span
from components.generators import Generator
from components.layers import standing_statistics
from datasets import VideoDataset
from framework import Stage, StageGraph
from framework.adversarial_stage import AdversarialStage
from framework.build import (
    build_data_route,
    build_discriminators,
    build_generator,
    build_loss,
    build_stage_view,
)
from framework.cascade import Cascade, Link
from framework.stage_data import StageData


class RandomClips(VideoDataset):
    """Clips of random frames, no two alike, in memory, with every ``space``-th pixel as levels of their own."""

    stride = 1
    fingerprint = "random"

    def __init__(self, lengths, clip: Clip, classes: int | None = 3, seed: int = 0, spaces=()) -> None:
        self.levels = ("", *(f"nearest space={space}" for space in spaces))
        self.spaces = (1, *spaces)
        self.height, self.width, self.channels = clip.height, clip.width, clip.channels
        self.classes = None if classes is None else tuple(f"class{k}" for k in range(classes))
        random = np.random.default_rng(seed)
        shape = (clip.height, clip.width, clip.channels)
        self.videos = [random.integers(0, 256, (length, *shape), dtype=np.uint8) for length in lengths]
        self.reads = []

    def __len__(self):
        return len(self.videos)

    def frames(self, clip):
        return len(self.videos[clip])

    def label(self, clip):
        return None if self.classes is None else clip % len(self.classes)

    def name(self, clip):
        return f"clip{clip}"

    def window(self, clip, start, frames):
        return self.strided(clip, start, frames, 1)

    def strided(self, clip, start, frames, step, level=0, out=None):
        self.check_window(clip, start, (frames - 1) * step + 1)
        self.reads.append((clip, range(start, start + frames * step, step), level))
        space = self.spaces[level]
        found = self.videos[clip][self.reads[-1][1], ::space, ::space].copy()
        if out is not None:
            out[:] = found
        return found


def ready(generator: Generator, frames: int, low: Clip | None = None, classes: int | None = None) -> Generator:
    """With biases that are not zero and statistics that differ from frame to frame, of random inputs."""
    for name, parameter in generator.named_parameters():
        if name.endswith("bias"):
            nn.init.normal_(parameter, std=0.3)
    with torch.no_grad(), standing_statistics(generator, frames):
        x_l = None if low is None else torch.rand(low.shape(4)) * 2 - 1
        y = None if classes is None else torch.arange(4) % classes
        generator(torch.randn(4, generator.noise_dim), y, x_l, Span.whole(frames))
    return generator


def make_cascade(graph: StageGraph, name: str) -> Cascade:
    """The stages from the base to ``name`` as if they had been trained, with random weights."""
    links = []
    for stage in graph.chain(name):
        low = graph[stage.source].clip if stage.source else None
        generator = ready(build_generator(graph, stage), stage.clip.frames, low, graph.classes)
        links.append(Link(stage.name, stage.clip, generator, stage.training_clip.frames))
    return Cascade(links)


def make_stage(graph: StageGraph, name: str) -> AdversarialStage:
    """The stage ``name`` as it begins to train, on top of random sources."""
    stage: Stage = graph[name]
    view = build_stage_view(stage)
    return AdversarialStage(
        stage,
        build_generator(graph, stage),
        build_discriminators(graph, stage),
        build_loss(stage),
        StageData(graph, stage, build_data_route(graph, stage), view),
        view,
        make_cascade(graph, stage.source) if stage.source else None,
    )


def make_batch(clip: Clip, batch: int, classes: int | None, seed: int = 0) -> dict[str, torch.Tensor]:
    """What the loader gives: random frames of ``clip`` and labels."""
    random = torch.Generator().manual_seed(seed)
    shape = (batch, clip.frames, clip.height, clip.width, clip.channels)
    frames = torch.randint(256, shape, generator=random, dtype=torch.uint8)
    label = torch.full((batch,), -1) if classes is None else torch.randint(classes, (batch,), generator=random)
    return {"frames": frames, "label": label}
