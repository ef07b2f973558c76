"""One iteration of a stage without a run folder, for whoever measures it: on random pixels, sources untrained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import torch
from mmengine.optim import OptimWrapperDict
from torch import Tensor

from components.clip import Clip, Span
from components.layers import standing_statistics
from framework.adversarial_stage import AdversarialStage, Log
from framework.average import WeightAverage
from framework.batch import Latents
from framework.build import build_generator
from framework.cascade import Cascade, Link
from framework.experiment import Experiment, Training
from framework.graph import Stage
from framework.pixel_values import videos_of
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


@attrs.frozen
class RandomBank:
    """Random pixels in place of what a bank of source videos gives; reading them is not part of it."""

    clip: Clip
    """A window."""
    device: torch.device

    def draw(self, batch: int) -> tuple[Sequence[Tensor], Span | None]:
        """Nothing: all clips are alike."""
        return (), None

    def windows(self, latents: Latents, y: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """As many windows as ``latents`` are of, of the classes asked for."""
        shape = (len(latents.z), self.clip.frames, self.clip.height, self.clip.width, self.clip.channels)
        return videos_of(torch.randint(0, 256, shape, dtype=torch.uint8), self.device), y


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
    model = build_untrained(experiment, experiment.graph[name], training).to(device)
    if model.sources is not None:
        model.sources.to(device)
    return step_of(model, experiment, training, batch)


def build_untrained(experiment: Experiment, stage: Stage, training: Training) -> AdversarialStage:
    """The stage at iteration 0 on top of untrained sources, on the default device."""
    sources = build_sources(experiment, stage.source) if stage.source else None
    return assemble(experiment, stage, training, sources)


def build_sources(experiment: Experiment, name: str) -> Cascade:
    """The stages up to ``name``, untrained, with running statistics of mean 0 and variance 1."""
    reseed(experiment.seed, name)
    links = []
    for stage in experiment.graph.chain(name):
        generator = build_generator(experiment.graph, stage)
        with standing_statistics(generator, stage.clip.frames):
            pass
        links.append(Link(stage.name, stage.clip, generator, stage.training_clip.frames))
    return Cascade(links)


def step_of(model: AdversarialStage, experiment: Experiment, training: Training, batch: int) -> StageStep:
    """The iteration of ``model``, which stands on its device; arranged and in training mode from here on."""
    optimizers = make_optimizers(model, training)
    arrange(model, training)
    model.train()
    if training.average is not None:
        model.average = WeightAverage(model.generator, training.average)
    if training.prefix_bank is not None and model.sources is not None and model.view is not None:
        clip = attrs.evolve(model.sources.clip, frames=model.data.frames // model.view.time)
        model.prefix = RandomBank(clip, model.device)
    data = loader_batch(experiment, model.stage, model.data, batch)
    return StageStep(model, optimizers, [data] * training.discriminator_steps)


def loader_batch(experiment: Experiment, stage: Stage, data: StageData, batch: int) -> dict[str, Any]:
    """Random pixels and some class each, shaped as the stage's loader gives them."""
    clip, picked = experiment.graph.clip, data.picked
    frames = data.spans(data.window(0))[0].frames // picked.time
    shape = (batch, frames, clip.height // picked.space, clip.width // picked.space, clip.channels)
    labels = torch.arange(batch) % (experiment.graph.classes or 1)
    return {"frames": torch.randint(0, 256, shape, dtype=torch.uint8), "label": labels}
