"""Metrics of a stage while it trains (``training.evaluate``)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from components import ranks
from components.features import FeatureNetwork
from components.metrics import Metric, MetricBatch
from datasets import VideoDataset
from framework.adversarial_stage import AdversarialStage
from framework.build import build_stage_view, stage_path
from framework.experiment import Experiment
from framework.graph import Stage
from framework.measures import Compared, fewest_of, look, refuse_too_large, refuse_unmeasurable
from framework.randomness import generator_at
from framework.real_clips import RealClips
from framework.samples import current_videos
from registry import FEATURES, METRICS, InputError
from registry.errors import join
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
        model: its networks.
        dataset: the real videos.

    Raises:
        InputError: a metric cannot be measured on this stage, or there are too few videos for it.
    """

    def __init__(self, experiment: Experiment, stage: Stage, model: AdversarialStage, dataset: VideoDataset) -> None:
        self._training = training = experiment.training_of(stage)
        self._where = join(stage_path(stage), "training.evaluate")
        self._seed, self._stage, self._model = experiment.seed, stage, model
        self._conditional = experiment.graph.classes is not None
        self._classes = experiment.graph.classes
        self._source_frames = experiment.graph[stage.source].clip.frames if stage.source else stage.clip.frames
        self.names: tuple[str, ...] = ()
        """The names that the figures have among the metrics."""
        self._network: FeatureNetwork | None = None
        if not training.evaluate:
            return
        self._view = build_stage_view(stage)
        self._real = RealClips(dataset, experiment, stage, stage.clip.frames, experiment.seed)
        self._count = min(training.evaluate_videos, len(self._real))
        if training.evaluate_features is not None:
            self._network = FEATURES.build(
                training.evaluate_features, join(stage_path(stage), "training.evaluate_features")
            )
        labels = self._real.labels(range(self._count)) if self._conditional else None
        compared = Compared(
            frames=stage.clip.frames,
            count=self._count,
            stride=stage.clip.stride,
            time=None if self._view is None else self._view.time,
            fewest=fewest_of(labels, dataset.classes),
            classes=0 if labels is None else len(set(labels.tolist())),
        )
        metrics = self._metrics()
        for number, metric in enumerate(metrics):
            try:
                refuse_unmeasurable(metric, self._network, compared)
            except InputError as error:
                raise InputError.of(f"{self._where}[{number}]", error.problems[0].what) from None
        with ranks.alone():  # as rank 0 measures
            refuse_too_large(metrics, self._network, compared, self._where)
        self.names = tuple(name for metric in metrics for name in metric.names_in(stage.clip.frames))

    @torch.no_grad()
    def measure(self) -> dict[str, float]:
        """The figures of the stage as it is now, by name."""
        device, metrics = self._model.device, self._metrics()
        network = None if self._network is None else self._network.to(device)
        # Of even sizes: a few videos left over would be normalised with statistics of very few.
        batches = torch.arange(self._count).chunk(-(-self._count // BATCH))
        for numbered in Progress(iterable=batches, desc=f"evaluate {self._stage.name}", unit="batch"):
            numbers = numbered.tolist()
            labels = self._real.labels(numbers) if self._conditional else None
            real = self._real.videos(numbers, device)
            videos = current_videos(self._stage, self._model, self._training, self._noise(numbers), labels)
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

    def _metrics(self) -> list[Metric]:
        window, time = self._stage.training_clip.frames, self._stage.clip.frames // self._source_frames
        return [
            METRICS.build(component, f"{self._where}[{number}]", classes=self._classes, window=window, time=time)
            for number, component in enumerate(self._training.evaluate)
        ]

    def _noise(self, numbers: Sequence[int]) -> list[Tensor]:
        """For every stage so far the noise of each video, ``(B, noise_dim)``."""
        sources = () if self._model.sources is None else self._model.sources.links
        dims = [(link.name, link.generator.noise_dim) for link in sources]
        dims.append((self._stage.name, self._model.generator.noise_dim))
        return [
            torch.stack([torch.randn(dim, generator=generator_at(self._seed, "evaluation", name, k)) for k in numbers])
            for name, dim in dims
        ]
