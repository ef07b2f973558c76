"""Train one stage: read it as a recipe."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from mmengine.device import get_device

from components.layers import batch_statistics, standing_statistics
from datasets import VideoDataset
from framework.adversarial_stage import AdversarialStage
from framework.artifact import load_cascade, manifest_digest, save_artifact
from framework.build import build_data_route, build_discriminators, build_generator, build_loss, build_stage_view
from framework.cascade import unroll
from framework.checkpoint import load_latest
from framework.experiment import Experiment, Training
from framework.graph import Stage
from framework.hooks import MetricsHook, ProgressHook, SampleHook, StageCheckpointHook
from framework.pictures import contact_sheet
from framework.randomness import derive, generator_at, reseed
from framework.run_folder import RunFolder
from framework.runner import make_optimizers, make_runner
from framework.stage_data import PositionBatches, StageClips, StageData
from framework.stage_loader import StageLoader
from registry.cli import say
from registry.progress import Progress


def train_stage(run: RunFolder, experiment: Experiment, stage: Stage, dataset: VideoDataset) -> None:
    """Train ``stage`` to its end, from wherever the run folder has it, and write its artifact.

    The stages before it must be done; they are loaded from their artifacts and stay as they are.

    Raises:
        InputError: a source's artifact is missing or damaged, or every checkpoint is.
    """
    training = experiment.training_of(stage)
    model, clips = build_model(run, experiment, stage, dataset)
    model.to(get_device())
    optimizers = make_optimizers(model, training)

    saved, warnings = load_latest(run.checkpoints(stage.name))
    say(*(f"warning: {line}" for line in warnings))
    first = 0 if saved is None else int(saved["iteration"])
    if saved is not None:
        say(f"{stage.name}: carrying on at iteration {first}")
        model.load_state_dict(saved["model"])
        optimizers.load_state_dict(saved["optimizers"])

    if first < training.iterations:
        _train(run, experiment, stage, model, clips, optimizers, first, None if saved is None else saved["metrics"])
    estimate_statistics(experiment, stage, model, clips)
    save_artifact(
        run.artifact(stage.name),
        experiment,
        model.generator,
        stage=stage.name,
        iterations=training.iterations,
        statistics_frames=stage.clip.frames,
        data=dataset.fingerprint,
        classes=dataset.classes if experiment.graph.classes else None,
        source=manifest_digest(run.artifact(stage.source)) if stage.source else None,
    )


def build_model(
    run: RunFolder, experiment: Experiment, stage: Stage, dataset: VideoDataset
) -> tuple[AdversarialStage, StageClips]:
    """The stage's networks as they are at iteration 0, on the CPU, and the clips that they learn."""
    graph = experiment.graph
    view = build_stage_view(stage)
    data = StageData(graph, stage, build_data_route(graph, stage), view)
    sources = load_cascade(run.artifacts(experiment), experiment, stage.source) if stage.source else None
    reseed(experiment.seed, stage.name, "weights")
    model = AdversarialStage(
        stage,
        build_generator(graph, stage),
        build_discriminators(graph, stage),
        build_loss(stage),
        data,
        view,
        None if sources is None else sources.to(get_device()),
    )
    return model, StageClips(dataset, graph, data, derive(experiment.seed, stage.name, "data"))


def _train(
    run: RunFolder,
    experiment: Experiment,
    stage: Stage,
    model: AdversarialStage,
    clips: StageClips,
    optimizers: Any,
    first: int,
    begun: dict[str, Any] | None,
) -> None:
    """The iterations from ``first`` on; ``begun`` is what the metrics had added up by then."""
    training = experiment.training_of(stage)
    steps = training.discriminator_steps
    batches = PositionBatches(first, training.iterations, steps, training.batch_size)
    folder = run.stage(stage.name)
    folder.mkdir(exist_ok=True)
    metrics = MetricsHook(run.metrics(stage.name), training.log_every, first, steps * training.batch_size, begun)

    def state(iteration: int) -> dict[str, Any]:
        return {
            "iteration": iteration,
            "model": model.state_dict(),
            "optimizers": optimizers.state_dict(),
            "metrics": metrics.state(),
        }

    hooks = [
        ProgressHook(stage.name, first, training.iterations),
        metrics,
        SampleHook(run.samples(stage.name), training.sample_every, sample_picture(experiment, stage, model, training)),
        StageCheckpointHook(run.checkpoints(stage.name), training.checkpoint_every, state),
    ]
    loop = {
        "first": first,
        "iterations": training.iterations,
        "per_iteration": steps,
        "reseed": lambda iteration: reseed(experiment.seed, stage.name, 0, iteration),
    }
    loader = StageLoader(clips, batches, training.workers)
    name = f"{experiment.name}_{stage.name}"
    make_runner(
        name, model, optimizers, loader, loop, hooks, run.mmengine(stage.name), run.tensorboard(stage.name)
    ).train()


def sample_picture(
    experiment: Experiment, stage: Stage, model: AdversarialStage, training: Training
) -> Callable[[], npt.NDArray[np.uint8]]:
    """A function that draws whole videos of every stage so far, always from the same noise.

    The stage in training normalises with the samples' own statistics, since those of the whole length are
    estimated only at its end; nothing of it changes.
    """
    links = () if model.sources is None else model.sources.links
    count, classes = training.samples, experiment.graph.classes
    random = generator_at(experiment.seed, stage.name, "samples")
    noise = [torch.randn(count, link.generator.noise_dim, generator=random) for link in links]
    own = torch.randn(count, model.generator.noise_dim, generator=random)
    labels = None if classes is None else torch.arange(count) % classes
    window = _statistics_window(stage, model)

    @torch.no_grad()
    def draw() -> npt.NDArray[np.uint8]:
        device = model.device
        y = None if labels is None else labels.to(device)
        videos = model.sources.videos([z.to(device) for z in noise], y) if model.sources else {}
        x_l = videos[stage.source] if stage.source else None
        training_mode = model.training
        model.eval()
        with batch_statistics(model.generator):
            videos[stage.name] = unroll(model.generator, own.to(device), y, x_l, stage.clip.frames, window)
        model.train(training_mode)
        return contact_sheet(videos)

    return draw


@torch.no_grad()
def estimate_statistics(experiment: Experiment, stage: Stage, model: AdversarialStage, clips: StageClips) -> None:
    """Standing statistics: batch-norm statistics of every timestep of the whole clip (appendix A)."""
    training = experiment.training_of(stage)
    batch, device, generator = training.standing_batch, model.device, model.generator
    with standing_statistics(generator, stage.clip.frames):
        for number in Progress(iterable=range(training.standing_passes), desc=f"statistics {stage.name}", unit="pass"):
            reseed(experiment.seed, stage.name, "statistics", number)
            labels = clips.labels(batch, torch.default_generator).to(device) if experiment.graph.classes else None
            z = torch.randn(batch, generator.noise_dim, device=device)
            x_l = None
            if model.sources is not None:
                noise = model.sources.noise(batch)
                x_l = model.sources.videos(noise, labels)[model.sources.links[-1].name]
            unroll(generator, z, labels, x_l, stage.clip.frames, _statistics_window(stage, model))


def _statistics_window(stage: Stage, model: AdversarialStage) -> int:
    """Frames at a time for a generator that normalises with the batch at hand."""
    return stage.training_clip.frames if model.generator.statistics_in_windows else stage.clip.frames
