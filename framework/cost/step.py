"""One iteration of a stage without a run folder, for whoever measures it: on random pixels, sources untrained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import torch
from mmengine.optim import OptimWrapperDict

from components.layers import standing_statistics
from framework.adversarial_stage import AdversarialStage, Log
from framework.build import build_generator
from framework.cascade import Cascade, Link
from framework.experiment import Experiment, Training
from framework.graph import Stage
from framework.randomness import reseed
from framework.runner import make_optimizers
from framework.stage_data import StageData
from framework.train_stage import arrange, assemble


@attrs.frozen(eq=False)
class StageStep:
    """An iteration of one stage; a call makes it."""

    model: AdversarialStage
    optimizers: OptimWrapperDict
    batches: Sequence[dict[str, Any]]
    """What the loader would give for one iteration, a batch for each update of the discriminators."""

    def __call__(self) -> Log:
        """Make the iteration and return its log."""
        return self.model.train_step(self.batches, self.optimizers)


def build_step(
    experiment: Experiment, name: str, training: Training, batch: int, device: torch.device | str = "cpu"
) -> StageStep:
    """The iteration that training the stage ``name`` makes, with weights and pixels that nothing depends on.

    What a step costs depends on shapes alone. The networks are those of iteration 0, in training mode, and
    frozen sources have running statistics of their whole clip, as trained ones do.

    Args:
        experiment: checked.
        name: of the stage.
        training: of the stage, as :meth:`Experiment.training_of` gives it, perhaps with options changed.
        batch: clips in an update, of this process.
        device: where it is to run.
    """
    stage = experiment.graph[name]
    sources = build_sources(experiment, stage.source, device) if stage.source else None
    model = assemble(experiment, stage, training, sources).to(device)
    optimizers = make_optimizers(model, training)
    arrange(model, training)
    model.train()
    data = loader_batch(experiment, stage, model.data, batch)
    return StageStep(model, optimizers, [data] * training.discriminator_steps)


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


def loader_batch(experiment: Experiment, stage: Stage, data: StageData, batch: int) -> dict[str, Any]:
    """Random pixels and some class each, shaped as the stage's loader gives them."""
    clip, picked = experiment.graph.clip, data.picked
    frames = data.spans(data.window(0))[0].frames // picked.time
    shape = (batch, frames, clip.height // picked.space, clip.width // picked.space, clip.channels)
    labels = torch.arange(batch) % (experiment.graph.classes or 1)
    return {"frames": torch.randint(0, 256, shape, dtype=torch.uint8), "label": labels}
