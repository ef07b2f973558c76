"""What a generated clip costs."""

from __future__ import annotations

from collections import deque

import attrs
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from framework.cost.fake import fake_cascade
from framework.cost.meter import Meter
from framework.experiment import Experiment


def flops_per_clip(experiment: Experiment, name: str) -> int:
    """FLOPs of the stage ``name`` alone for one clip of its whole length, streamed as ``tools/generate.py`` does."""
    graph = experiment.graph
    stage = graph[name]
    with FakeTensorMode():
        cascade = fake_cascade(experiment, name)
        link = cascade.links[-1]
        z = torch.empty(1, link.generator.noise_dim)
        y = None if graph.classes is None else torch.zeros(1, dtype=torch.long)
        source = None
        if stage.source is not None:
            clip = attrs.evolve(graph[stage.source].clip, frames=cascade.lengths()[-2])
            source = [torch.empty(clip.shape(1))]
        with torch.no_grad(), Meter() as meter:
            deque(link.generator.stream(z, y, source, link.clip.frames, link.window), maxlen=0)
    return sum(operation.flops for operation in meter.operations)
