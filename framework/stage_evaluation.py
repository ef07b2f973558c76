"""Metrics of a stage while it trains (``training.evaluate``)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from components import ranks
from components.features import FeatureNetwork
from components.metrics import MetricBatch
from datasets import VideoDataset
from framework.adversarial_stage import AdversarialStage
from framework.build import build_stage_view
from framework.check_evaluation import Networks, evaluation_metrics, evaluation_network, refuse_evaluation
from framework.experiment import Experiment
from framework.graph import Stage
from framework.measures import Compared, fewest_of, look
from framework.randomness import generator_at
from framework.real_clips import RealClips
from framework.samples import current_videos
from registry import InputError, Problem
from registry.progress import Progress

BATCH = 16
"""The most videos at a time; they share their batch-norm statistics."""


class StageEvaluation:
    """Measures what ``training.evaluate`` names: always on the same clips, noise and classes.

    Videos are whole and normalised with the statistics of those at hand, at most :data:`BATCH`, so figures are not
    those of ``tools/evaluate.py``, which measures the finished stage; among each other they compare.

    Args:
        experiment: the cascade.
        stage: the one that trains.
        dataset: the real videos.
        networks: feature networks that are there already; one that is needed is added.

    Raises:
        InputError: the feature network cannot be built, a metric cannot be measured on this stage, or there are too
            few videos for it.
    """

    def __init__(
        self, experiment: Experiment, stage: Stage, dataset: VideoDataset, networks: Networks | None = None
    ) -> None:
        self._experiment, self._stage = experiment, stage
        self._training = training = experiment.training_of(stage)
        self._conditional = experiment.graph.classes is not None
        self.names: tuple[str, ...] = ()
        """The names that the figures have among the metrics."""
        self._network: FeatureNetwork | None = None
        if not training.evaluate:
            return
        self._view = build_stage_view(stage)
        self._real = RealClips(dataset, experiment, stage, stage.clip.frames, experiment.seed)
        self._count = min(training.evaluate_videos, len(self._real))
        self._network = evaluation_network(experiment, stage, {} if networks is None else networks)
        labels = self._real.labels(range(self._count)) if self._conditional else None
        compared = Compared(
            frames=stage.clip.frames,
            count=self._count,
            stride=stage.clip.stride,
            time=None if self._view is None else self._view.time,
            fewest=fewest_of(labels, dataset.classes),
            classes=0 if labels is None else len(set(labels.tolist())),
        )
        metrics = evaluation_metrics(experiment, stage)
        with ranks.alone():  # as rank 0 measures
            refuse_evaluation(stage, metrics, self._network, compared)
        self.names = tuple(name for metric in metrics for name in metric.names_in(stage.clip.frames))

    @torch.no_grad()
    def measure(self, model: AdversarialStage) -> dict[str, float]:
        """The figures of the stage, whose networks are ``model``, as it is now, by name."""
        device, metrics = model.device, evaluation_metrics(self._experiment, self._stage)
        network = None if self._network is None else self._network.to(device)
        # Of even sizes: a few videos left over would be normalised with statistics of very few.
        batches = torch.arange(self._count).chunk(-(-self._count // BATCH))
        for numbered in Progress(iterable=batches, desc=f"evaluate {self._stage.name}", unit="batch"):
            numbers = numbered.tolist()
            labels = self._real.labels(numbers) if self._conditional else None
            real = self._real.videos(numbers, device)
            videos = current_videos(self._stage, model, self._training, self._noise(model, numbers), labels)
            made = videos[self._stage.name]
            look("real", MetricBatch(videos=real, numbers=numbered, labels=labels), metrics, network)
            low = videos[self._stage.source] if self._stage.source else None
            viewed = self._view(made) if self._view is not None else None
            batch = MetricBatch(videos=made, numbers=numbered, labels=labels, low=low, viewed=viewed)
            look("generated", batch, metrics, network)
        figures = [figure for metric in metrics for figure in metric.figures()]
        return {
            f"{figure.name}/{figure.detail['frame']}" if "frame" in figure.detail else figure.name: figure.value
            for figure in figures
            if figure.label is None
        }

    def _noise(self, model: AdversarialStage, numbers: Sequence[int]) -> list[Tensor]:
        """For every stage so far the noise of each video, ``(B, noise_dim)``."""
        sources = () if model.sources is None else model.sources.links
        dims = [(link.name, link.generator.noise_dim) for link in sources]
        dims.append((self._stage.name, model.generator.noise_dim))
        seed = self._experiment.seed
        return [
            torch.stack([torch.randn(dim, generator=generator_at(seed, "evaluation", name, k)) for k in numbers])
            for name, dim in dims
        ]


def make_evaluations(
    experiment: Experiment, stages: Sequence[Stage], dataset: VideoDataset
) -> dict[str, StageEvaluation]:
    """What is to measure each of ``stages``, by their names; stages that name the same feature network share it.

    Raises:
        InputError: what cannot be measured, of every stage.
    """
    networks: Networks = {}
    evaluations, problems = {}, list[Problem]()
    for stage in stages:
        try:
            evaluations[stage.name] = StageEvaluation(experiment, stage, dataset, networks)
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems)
    return evaluations
