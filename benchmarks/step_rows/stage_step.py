"""One iteration of a stage as training makes it, on random pixels, its sources untrained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import torch
from mmengine.optim import OptimWrapperDict

from components.layers import standing_statistics
from framework.adversarial_stage import AdversarialStage, Log, Rules
from framework.build import build_data_route, build_discriminators, build_generator, build_loss, build_stage_view
from framework.cascade import Cascade, Link
from framework.experiment import Experiment, Training
from framework.randomness import reseed
from framework.runner import make_optimizers
from framework.stage_data import StageData
from framework.train_stage import arrange


@attrs.frozen(eq=False)
class StageStep:
    """An iteration of one stage; a call makes it."""

    model: AdversarialStage
    optimizers: OptimWrapperDict
    batches: Sequence[dict[str, Any]]

    def __call__(self) -> Log:
        """Make the iteration and return its log."""
        return self.model.train_step(self.batches, self.optimizers)


def build_step(
    experiment: Experiment, name: str, training: Training, batch: int, device: torch.device | str = "cpu"
) -> StageStep:
    """The iteration that training the stage ``name`` makes; what it costs depends on shapes alone."""
    graph = experiment.graph
    stage, view = graph[name], build_stage_view(graph[name])
    data = StageData(graph, stage, build_data_route(graph, stage), view)
    sources = build_sources(experiment, stage.source, device) if stage.source else None
    reseed(experiment.seed, name, "weights")
    networks = (build_generator(graph, stage), build_discriminators(graph, stage), build_loss(stage))
    rules = Rules(most_clips=training.clips_per_gpu, r1=training.r1)
    model = AdversarialStage(stage, *networks, data, view, sources, rules).to(device)
    optimizers = make_optimizers(model, training)
    arrange(model, training)
    model.train()
    frames = data.spans(data.window(0))[0].frames // data.picked.time
    height, width = graph.clip.height // data.picked.space, graph.clip.width // data.picked.space
    pixels = torch.randint(0, 256, (batch, frames, height, width, graph.clip.channels), dtype=torch.uint8)
    labels = torch.arange(batch) % (graph.classes or 1)
    return StageStep(model, optimizers, [{"frames": pixels, "label": labels}] * training.discriminator_steps)


def build_sources(experiment: Experiment, name: str, device: torch.device | str = "cpu") -> Cascade:
    """The stages up to ``name``, untrained, with running statistics of mean 0 and variance 1."""
    reseed(experiment.seed, name)
    links = []
    for stage in experiment.graph.chain(name):
        generator = build_generator(experiment.graph, stage)
        with standing_statistics(generator, stage.clip.frames):
            pass
        links.append(Link(stage.name, stage.clip, generator, stage.training_clip.frames))
    return Cascade(links).to(device)
