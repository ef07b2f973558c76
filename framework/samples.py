"""Videos of a stage while it trains."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from components.layers import batch_statistics
from framework.adversarial_stage import AdversarialStage
from framework.cascade import unroll
from framework.experiment import Experiment, Training
from framework.finish_stage import statistics_window, uncompiled
from framework.graph import Stage
from framework.randomness import generator_at


def sample_videos(
    experiment: Experiment, stage: Stage, model: AdversarialStage, training: Training
) -> Callable[[], dict[str, Tensor]]:
    """A function that makes whole videos ``(B, T, C, H, W)`` of every stage so far, always from the same noise."""
    links = () if model.sources is None else model.sources.links
    count, classes = training.samples, experiment.graph.classes
    random = generator_at(experiment.seed, stage.name, "samples")
    noise = [torch.randn(count, link.generator.noise_dim, generator=random) for link in links]
    own = torch.randn(count, model.generator.noise_dim, generator=random)
    labels = None if classes is None else torch.arange(count) % classes
    return lambda: current_videos(stage, model, training, [*noise, own], labels)


@torch.no_grad()
def current_videos(
    stage: Stage, model: AdversarialStage, training: Training, noise: Sequence[Tensor], labels: Tensor | None
) -> dict[str, Tensor]:
    """Whole videos ``(B, T, C, H, W)`` of every stage so far, as the stage in training is now.

    It normalises with the videos' own statistics, since those of the whole length are estimated only at its end;
    nothing of it changes. With an average of the weights, that is used.

    Args:
        stage: the one that trains.
        model: its networks.
        training: how it trains.
        noise: one ``(B, noise_dim)`` per stage, the one in training last.
        labels: class indices ``(B,)`` or None.
    """
    device = model.device
    y = None if labels is None else labels.to(device)
    *before, own = (z.to(device) for z in noise)
    videos = model.sources.videos(before, y) if model.sources else {}
    x_l = videos[stage.source] if stage.source else None
    training_mode = model.training
    model.eval()
    generator = model.generator if model.average is None else model.average.generator(model.generator)
    with batch_statistics(generator), uncompiled(training):
        window = statistics_window(stage, generator)
        videos[stage.name] = unroll(generator, own, y, x_l, stage.clip.frames, window)
    model.train(training_mode)
    return videos
