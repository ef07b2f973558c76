"""What is left to do when a stage's iterations are done: its standing statistics and its artifact."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from components.generators import Generator
from framework.adversarial_stage import AdversarialStage
from framework.artifact import save_artifact
from framework.experiment import Experiment, Training
from framework.graph import Stage
from framework.run_folder import RunFolder
from framework.stage_data import StageClips
from framework.statistics import estimate
from framework.stopping import StopSignals


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
    training = experiment.training_of(stage)
    average = None if model.average is None else model.average.generator(model.generator)
    for generator in filter(None, (model.generator, average)):
        estimate_statistics(experiment, stage, model, generator, clips, signals)
    save_artifact(
        run.artifact(stage.name),
        experiment,
        model.generator,
        average,
        source=run.artifact(stage.source) if stage.source else None,
        stage=stage.name,
        iterations=training.iterations,
        statistics_frames=stage.clip.frames,
        statistics_passes=training.standing_passes,
        statistics_batch=training.standing_batch,
        data=clips.dataset.fingerprint,
        classes=clips.dataset.classes if experiment.graph.classes else None,
        class_counts=clips.class_counts() if experiment.graph.classes else None,
    )


def estimate_statistics(
    experiment: Experiment,
    stage: Stage,
    model: AdversarialStage,
    generator: Generator,
    clips: StageClips,
    signals: StopSignals,
) -> None:
    """Standing statistics of every timestep of the stage's whole clip (appendix A)."""
    training = experiment.training_of(stage)

    def labels(count: int) -> Tensor | None:
        return clips.labels(count, torch.default_generator) if experiment.graph.classes else None

    def before_pass() -> None:
        if signals.agreed_stop():
            raise signals.stop(f"the statistics of {stage.name}")

    with uncompiled(training):
        estimate(
            generator,
            model.sources,
            stage.clip.frames,
            statistics_window(stage, generator),
            labels,
            passes=training.standing_passes,
            batch=training.standing_batch,
            place=(experiment.seed, stage.name),
            before_pass=before_pass,
        )


def uncompiled(training: Training) -> AbstractContextManager[None]:
    """In it networks run as they are written: what is run now and then is not worth compiling for its own shapes."""
    return torch.compiler.set_stance("force_eager") if training.compile else nullcontext()


def statistics_window(stage: Stage, generator: Generator) -> int:
    """Frames at a time for a generator that normalises with the batch at hand."""
    return stage.training_clip.frames if generator.statistics_in_windows else stage.clip.frames
