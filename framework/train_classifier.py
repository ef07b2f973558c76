"""Train a classifier: read it as a recipe."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from mmengine.device import get_device
from mmengine.optim import OptimWrapperDict

from components import ranks
from components.classifiers import Classifier
from components.classifiers.stored import MANIFEST, read_classifier
from datasets import VideoDataset
from framework.batch import refuse_uneven
from framework.checkpoint import Checkpoints, load_checkpoint, newest_whole
from framework.classifier import ClassifierExperiment
from framework.classifier_artifact import save_classifier
from framework.classifier_data import LabelledClips, held_out_clips, open_labelled
from framework.classifier_model import NAME, ClassifierModel, HeldOutHook, accuracy_of, make_optimizer, set_rate
from framework.hooks import MetricsHook, ProgressHook, StageCheckpointHook
from framework.metrics_file import cut_metrics
from framework.mishaps import explained_as
from framework.randomness import derive, deterministic, reseed
from framework.run_folder import RunFolder
from framework.runner import make_runner
from framework.stage_data import PositionBatches
from framework.stage_loader import StageLoader
from framework.stopping import StopSignals
from framework.together import on_first, together
from framework.train import enter
from registry import CLASSIFIERS
from registry.cli import note, say
from registry.progress import Progress

_LESS = ("a lower training.batch_size", "training.precision=bfloat16")
"""Against too little memory."""
MOST_WHILE_TRAINING = 512
"""Clips held out that are looked at amid training; those of the smallest hashes, which are any."""


def train_classifier(
    experiment: ClassifierExperiment,
    work_dir: str | Path,
    *,
    restart: bool = False,
    signals: StopSignals | None = None,
) -> RunFolder:
    """Train the classifier in ``work_dir`` and write its artifact; the same call again carries on.

    Args:
        experiment: checked.
        work_dir: a new folder, or that of an earlier run of the same experiment, which is taken up.
        restart: put an earlier run in ``work_dir`` aside and begin anew.
        signals: entered already; default those from here on.

    Raises:
        InputError: before anything is written: the data does not fit, or ``work_dir`` holds something else, or another
            process trains in it. Later: training diverged, or ran out of memory.
        Stopped: asked to by a signal; there is a checkpoint, and the same call carries on from it.
    """
    together(partial(refuse_uneven, experiment, ranks.world()))
    run = RunFolder(work_dir)
    dataset = together(partial(open_labelled, experiment))
    on_first(partial(enter, run, experiment, dataset.fingerprint, restart=restart))
    try:
        with ExitStack() as stack:
            signals = signals or stack.enter_context(StopSignals())
            if not on_first(lambda: (run.artifact(NAME) / MANIFEST).is_file()):
                _train(run, experiment, dataset, signals)
            else:
                on_first(partial(_mend_metrics, run))
            on_first(partial(_summary, run))
    finally:
        run.release()
    return run


def _mend_metrics(run: RunFolder) -> None:
    manifest, _, _ = read_classifier(run.artifact(NAME))
    cut_metrics(run.metrics(NAME), manifest.iterations)


def build_classifier(experiment: ClassifierExperiment, classes: int) -> Classifier:
    """The experiment's network, for ``classes`` classes.

    Raises:
        InputError: an option that the network refuses; the path starts at ``network``.
    """
    network: Classifier = CLASSIFIERS.build(experiment.network, "network", clip=experiment.clip, classes=classes)
    return network


def _train(run: RunFolder, experiment: ClassifierExperiment, dataset: VideoDataset, signals: StopSignals) -> None:
    training, classes = experiment.training, dataset.classes or ()
    learnt, held_out = held_out_clips(dataset, training.held_out, experiment.clip.frames)
    say(f"{NAME}: {len(classes)} classes, {len(learnt)} clips to learn, {len(held_out)} held out, {experiment.clip}")
    with deterministic(training.deterministic), explained_as(NAME, training.batch_size // ranks.world(), _LESS):
        reseed(experiment.seed, NAME, "weights")
        model = ClassifierModel(together(partial(build_classifier, experiment, len(classes)))).to(get_device())
        optimizers = make_optimizer(model, training)
        first, metrics = _take_up(run, model, optimizers)
        on_first(partial(cut_metrics, run.metrics(NAME), first))
        if ranks.world() > 1:
            model.reduce_gradients()
        if first < training.iterations:
            clips = LabelledClips(dataset, learnt, experiment.clip.frames, derive(experiment.seed, NAME, "data"))
            frames, some = experiment.clip.frames, held_out[:MOST_WHILE_TRAINING]
            judge = HeldOutHook(
                training.evaluate_every, lambda: accuracy_of(model.told(dataset, some, frames, training.batch_size))
            )
            _iterate(run, experiment, model, clips, optimizers, first, metrics, judge, signals)
        on_first(partial(_finish, run, experiment, model, dataset, held_out, signals))


def _take_up(
    run: RunFolder, model: ClassifierModel, optimizers: OptimWrapperDict
) -> tuple[int, Mapping[str, Any] | None]:
    """Load the newest whole checkpoint, if there is one: the iteration it is of, and the metrics' state."""
    path, warnings = on_first(partial(newest_whole, run.checkpoints(NAME)))
    note(*warnings)
    if path is None:
        return 0, None
    saved = together(partial(load_checkpoint, path))
    first: int = saved["iteration"]
    say(f"{NAME}: carrying on at iteration {first}")
    model.load_state_dict(saved["model"])
    optimizers.load_state_dict(saved["optimizers"])
    return first, saved["metrics"]


def _iterate(
    run: RunFolder,
    experiment: ClassifierExperiment,
    model: ClassifierModel,
    clips: LabelledClips,
    optimizers: OptimWrapperDict,
    first: int,
    begun: Mapping[str, Any] | None,
    judge: HeldOutHook,
    signals: StopSignals,
) -> None:
    """The iterations from ``first`` on; ``begun`` is what the metrics had added up by then.

    Raises:
        Stopped: asked to by a signal.
    """
    training = experiment.training
    batches = PositionBatches(first, training.iterations, 1, training.batch_size, ranks.rank(), ranks.world())
    on_first(partial(run.stage(NAME).mkdir, exist_ok=True))
    progress = ProgressHook(NAME, first, training.iterations)
    metrics = MetricsHook(run.metrics(NAME), training.log_every, training.batch_size, progress.show, begun)

    def begin(iteration: int) -> None:
        reseed(experiment.seed, NAME, iteration)
        set_rate(optimizers, training, iteration)

    def state(iteration: int) -> dict[str, Any]:
        return {
            "iteration": iteration,
            "model": model.state_dict(),
            "optimizers": optimizers.state_dict(),
            "metrics": metrics.state(),
        }

    store = Checkpoints(run.checkpoints(NAME), training.keep_checkpoints)
    saving = StageCheckpointHook(store, training.checkpoint_every, state, lambda: metrics.latest)
    loop = {
        "first": first,
        "iterations": training.iterations,
        "per_iteration": 1,
        "reseed": begin,
        "stop": lambda: signals.agreed_stop(),  # MMEngine would copy a method's object along with it
    }
    loader = StageLoader(clips, batches, training.workers)
    hooks = [progress, judge, metrics, saving]
    name = f"{experiment.name}_{NAME}"
    runner = make_runner(name, model, optimizers, loader, loop, hooks, run.mmengine(NAME), run.tensorboard(NAME))
    try:
        runner.train()
    finally:
        progress.close()
    if runner.train_loop.stopping or signals.settle():
        raise signals.stop(f"iteration {runner.iter} of {NAME}")


def _finish(
    run: RunFolder,
    experiment: ClassifierExperiment,
    model: ClassifierModel,
    dataset: VideoDataset,
    held_out: list[int],
    signals: StopSignals,
) -> None:
    """Judge the network by all clips held out, and write the artifact.

    Raises:
        Stopped: asked to by a signal; the same command does it again.
    """
    frames, batch = experiment.clip.frames, experiment.training.batch_size
    with Progress(total=-(-len(held_out) // batch), unit="batch", desc="held out") as bar:

        def before() -> None:
            if signals.agreed_stop():
                raise signals.stop(f"the judgement of {NAME}")
            bar.update()

        told = model.told(dataset, held_out, frames, batch, before)
    save_classifier(
        run.artifact(NAME),
        experiment,
        model.network,
        told=told,
        classes=dataset.classes or (),
        fingerprint=dataset.fingerprint,
    )


def _summary(run: RunFolder) -> None:
    manifest, _, _ = read_classifier(run.artifact(NAME))
    held_out = manifest.held_out
    say(
        f"trained in {run.path}: {manifest.iterations} iterations, "
        f"tells {held_out.accuracy:.1%} of {held_out.clips} clips held out",
        *(f"  {name}: {right} of {there}" for name, (right, there) in held_out.per_class.items()),
        f"features for metrics: InDomainFeatures(path='{run.path}')",
    )
