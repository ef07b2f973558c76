"""What is left to do when a stage's iterations are done: its standing statistics and its artifact."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

from components.generators import Generator
from components.layers import standing_statistics
from framework.adversarial_stage import AdversarialStage
from framework.artifact import manifest_digest, save_artifact
from framework.cascade import unroll
from framework.experiment import Experiment, Training
from framework.graph import Stage
from framework.randomness import reseed
from framework.run_folder import RunFolder
from framework.stage_data import StageClips
from framework.stopping import StopSignals
from registry.progress import Progress


def finish_stage(
    run: RunFolder,
    experiment: Experiment,
    stage: Stage,
    model: AdversarialStage,
    clips: StageClips,
    signals: StopSignals,
) -> None:
    """Estimate the statistics of the trained generator, and of its average, and write the artifact.

    One process does it, so that the result does not depend on their number.

    Raises:
        Stopped: asked to by a signal; the same command does it again.
    """
    average = None if model.average is None else model.average.generator(model.generator)
    for generator in filter(None, (model.generator, average)):
        estimate_statistics(experiment, stage, model, generator, clips, signals)
    save_artifact(
        run.artifact(stage.name),
        experiment,
        model.generator,
        average,
        stage=stage.name,
        iterations=experiment.training_of(stage).iterations,
        statistics_frames=stage.clip.frames,
        data=clips.dataset.fingerprint,
        classes=clips.dataset.classes if experiment.graph.classes else None,
        source=manifest_digest(run.artifact(stage.source)) if stage.source else None,
    )


@torch.no_grad()
def estimate_statistics(
    experiment: Experiment,
    stage: Stage,
    model: AdversarialStage,
    generator: Generator,
    clips: StageClips,
    signals: StopSignals,
) -> None:
    """Standing statistics: batch-norm statistics of every timestep of the whole clip (appendix A)."""
    training = experiment.training_of(stage)
    batch, device = training.standing_batch, model.device
    with standing_statistics(generator, stage.clip.frames), uncompiled(training):
        for number in Progress(iterable=range(training.standing_passes), desc=f"statistics {stage.name}", unit="pass"):
            if signals.agreed_stop():
                raise signals.stop(f"the statistics of {stage.name}")
            reseed(experiment.seed, stage.name, "statistics", number)
            labels = clips.labels(batch, torch.default_generator).to(device) if experiment.graph.classes else None
            z = torch.randn(batch, generator.noise_dim, device=device)
            x_l = None
            if model.sources is not None:
                noise = model.sources.noise(batch)
                x_l = model.sources.videos(noise, labels)[model.sources.links[-1].name]
            unroll(generator, z, labels, x_l, stage.clip.frames, statistics_window(stage, generator))


def uncompiled(training: Training) -> AbstractContextManager[None]:
    """In it networks run as they are written: what is run now and then is not worth compiling for its own shapes."""
    return torch.compiler.set_stance("force_eager") if training.compile else nullcontext()


def statistics_window(stage: Stage, generator: Generator) -> int:
    """Frames at a time for a generator that normalises with the batch at hand."""
    return stage.training_clip.frames if generator.statistics_in_windows else stage.clip.frames
