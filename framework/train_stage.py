"""Train one stage: read it as a recipe."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from mmengine.device import get_device
from mmengine.optim import OptimWrapperDict

from components import ranks
from components.layers import fix_weights, lay_channels_last, recompute, reserve_statistics
from datasets import VideoDataset
from framework.adversarial_stage import AdversarialStage
from framework.artifact import load_cascade
from framework.average import WeightAverage
from framework.build import build_data_route, build_discriminators, build_generator, build_loss, build_stage_view
from framework.cascade import Cascade
from framework.checkpoint import Checkpoints, load_checkpoint, newest_whole
from framework.experiment import Experiment, Training
from framework.finish_stage import finish_stage
from framework.graph import Stage
from framework.hooks import (
    EvaluateHook,
    MetricsHook,
    ProgressHook,
    SampleHook,
    StageCheckpointHook,
    release_memory,
)
from framework.metrics_file import cut_metrics
from framework.mishaps import explained
from framework.prefix_bank import stage_bank, tell_of_bank
from framework.randomness import derive, deterministic, reseed
from framework.rules import Rules
from framework.run_folder import RunFolder
from framework.runner import make_optimizers, make_runner
from framework.samples import sample_videos
from framework.stage_data import PositionBatches, StageClips, StageData
from framework.stage_evaluation import StageEvaluation
from framework.stage_loader import StageLoader
from framework.stopping import StopSignals
from framework.together import on_first, together
from registry.cli import note, say


def train_stage(
    run: RunFolder,
    experiment: Experiment,
    stage: Stage,
    dataset: VideoDataset,
    evaluation: StageEvaluation,
    signals: StopSignals,
) -> None:
    """Train ``stage`` to its end, from wherever the run folder has it, and write its artifact.

    The stages before it must be done; they are loaded from their artifacts and stay as they are. All ranks take
    part in the iterations; what comes after them rank 0 does by itself.

    Raises:
        InputError: a source's artifact is missing or damaged, or every checkpoint is; or there is no room for a bank;
            or training diverged, ran out of memory or lost a loader process.
        Stopped: asked to stop by a signal; there is a checkpoint of the last iteration.
    """
    training = experiment.training_of(stage)
    with deterministic(training.deterministic), explained(stage, training):
        release_memory()
        model, clips = together(partial(build_model, run, experiment, stage, dataset))
        model.to(get_device())
        if training.average is not None:
            model.average = WeightAverage(model.generator, training.average)
        optimizers = make_optimizers(model, training)
        first, metrics = _take_up(run, stage, model, optimizers)
        on_first(partial(cut_metrics, run.metrics(stage.name), first))
        arrange(model, training)
        if first < training.iterations:
            model.prefix = stage_bank(run, experiment, stage, model, clips, signals) or model.prefix
            _train(run, experiment, stage, model, clips, evaluation, optimizers, first, metrics, signals)
        on_first(partial(finish_stage, run, experiment, stage, model, clips, signals))
        on_first(partial(tell_of_bank, run, stage))


def build_model(
    run: RunFolder, experiment: Experiment, stage: Stage, dataset: VideoDataset
) -> tuple[AdversarialStage, StageClips]:
    """The stage's networks as they are at iteration 0, on the CPU, and the clips that they learn."""
    sources = load_cascade(run.artifacts(experiment), experiment, stage.source) if stage.source else None
    sources = None if sources is None else sources.to(get_device())
    model = assemble(experiment, stage, experiment.training_of(stage), sources)
    seed = derive(experiment.seed, stage.name, "data")
    return model, StageClips(dataset, experiment.graph, model.data, seed)


def assemble(experiment: Experiment, stage: Stage, training: Training, sources: Cascade | None) -> AdversarialStage:
    """The stage's networks at iteration 0, on the CPU, with its loss, its views and the frozen ``sources``.

    The weights of ``sources`` are fixed: they cannot train from here on.
    """
    graph, view = experiment.graph, build_stage_view(stage)
    data = StageData(graph, stage, build_data_route(graph, stage), view)
    for link in sources.links if sources else ():
        fix_weights(link.generator)
    reseed(experiment.seed, stage.name, "weights")
    return AdversarialStage(
        stage,
        build_generator(graph, stage),
        build_discriminators(graph, stage),
        build_loss(stage),
        data,
        view,
        sources,
        Rules.of(training),
    )


def _take_up(
    run: RunFolder, stage: Stage, model: AdversarialStage, optimizers: OptimWrapperDict
) -> tuple[int, Mapping[str, Any] | None]:
    """Load the newest whole checkpoint, if there is one: the iteration it is of, and the metrics' state."""
    path, warnings = on_first(partial(newest_whole, run.checkpoints(stage.name)))
    note(*warnings)
    if path is None:
        return 0, None
    saved = together(partial(load_checkpoint, path))
    first: int = saved["iteration"]
    say(f"{stage.name}: carrying on at iteration {first}")
    model.load_state_dict(saved["model"])
    optimizers.load_state_dict(saved["optimizers"])
    if model.average is not None:
        model.average.load_state_dict(saved["average"])
    return first, saved["metrics"]


def arrange(model: AdversarialStage, training: Training) -> None:
    """How the networks are to be computed; none of it changes what."""
    networks: dict[str, list[Any]] = {
        "generator": [model.generator],
        "discriminators": list(model.discriminators.values()),
    }
    lay_channels_last(model, training.channels_last)
    if training.activation_checkpointing:
        for network in (each for group in networks.values() for each in group):
            recompute(network)
    if training.compile:  # rows that come with the first batch would have the generator compiled anew after it
        reserve_statistics(model.generator, model.stage.training_clip.frames)
    for name in training.compile:
        for network in networks[name]:
            network.compile()
    if ranks.world() > 1:
        model.reduce_gradients()


def _train(
    run: RunFolder,
    experiment: Experiment,
    stage: Stage,
    model: AdversarialStage,
    clips: StageClips,
    evaluation: StageEvaluation,
    optimizers: OptimWrapperDict,
    first: int,
    begun: Mapping[str, Any] | None,
    signals: StopSignals,
) -> None:
    """The iterations from ``first`` on; ``begun`` is what the metrics had added up by then.

    Raises:
        Stopped: asked to by a signal.
    """
    training = experiment.training_of(stage)
    steps = training.discriminator_steps
    batches = PositionBatches(first, training.iterations, steps, training.batch_size, ranks.rank(), ranks.world())
    on_first(partial(run.stage(stage.name).mkdir, exist_ok=True))
    progress = ProgressHook(stage.name, first, training.iterations)
    clips_each = steps * training.batch_size
    metrics = MetricsHook(run.metrics(stage.name), training.log_every, clips_each, progress.show, begun)

    def state(iteration: int) -> dict[str, Any]:
        return {
            "iteration": iteration,
            "model": model.state_dict(),
            "average": None if model.average is None else model.average.state_dict(),
            "optimizers": optimizers.state_dict(),
            "metrics": metrics.state(),
        }

    store = Checkpoints(run.checkpoints(stage.name), training.keep_checkpoints, training.keep_best, evaluation.names)
    hooks = [
        progress,
        EvaluateHook(
            partial(evaluation.measure, model), training.evaluate_every if training.evaluate else None, metrics.measured
        ),
        metrics,
        SampleHook(run.samples(stage.name), training.sample_every, sample_videos(experiment, stage, model, training)),
        StageCheckpointHook(store, training.checkpoint_every, state, lambda: metrics.latest),
    ]
    loop = {
        "first": first,
        "iterations": training.iterations,
        "per_iteration": steps,
        "reseed": lambda iteration: reseed(experiment.seed, stage.name, iteration),
        "stop": lambda: signals.agreed_stop(),  # MMEngine would copy a method's object along with it
    }
    loader = StageLoader(clips, batches, training.workers)
    name = f"{experiment.name}_{stage.name}"
    runner = make_runner(
        name, model, optimizers, loader, loop, hooks, run.mmengine(stage.name), run.tensorboard(stage.name)
    )
    try:
        runner.train()
    finally:
        progress.close()
    if runner.train_loop.stopping or signals.settle():
        raise signals.stop(f"iteration {runner.iter} of {stage.name}")
