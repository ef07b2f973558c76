"""Train a whole experiment: its stages one after another, each from where it stands."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from pathlib import Path

from components import ranks
from framework.artifact import MANIFEST, read_own_manifest
from framework.bank_room import refuse_banks
from framework.batch import refuse_uneven
from framework.check_data import open_data
from framework.classifier import ClassifierExperiment
from framework.experiment import Experiment
from framework.graph import Stage
from framework.metrics_file import cut_metrics
from framework.randomness import prepare_deterministic
from framework.run_folder import RunFolder
from framework.stage_evaluation import make_evaluations
from framework.stopping import StopSignals
from framework.together import on_first, together
from framework.train_stage import train_stage
from registry import InputError
from registry.cli import say


def train(
    experiment: Experiment,
    work_dir: str | Path,
    only: str | None = None,
    *,
    restart: bool = False,
    signals: StopSignals | None = None,
) -> RunFolder:
    """Train every stage, or just ``only``, in ``work_dir``; what is done already is not done again.

    Args:
        experiment: checked.
        work_dir: a new folder, or that of an earlier run of the same experiment, which is taken up.
        only: a stage to train alone; the stages before it must be done.
        restart: put an earlier run in ``work_dir`` aside and begin anew.
        signals: entered already; default those from here on.

    Raises:
        InputError: before anything is written: a stage cannot train yet, the data does not fit the graph, a
            stage's bank does not fit on the disk or its evaluation cannot be measured, or ``work_dir`` holds something
            else, or another process trains in it. Later: a finished stage
            is not one of this experiment, or training diverged.
        Stopped: asked to by a signal; there is a checkpoint, and the same call carries on from it.
    """
    together(partial(refuse_joint, experiment))
    together(partial(refuse_uneven, experiment, ranks.world()))
    run = RunFolder(work_dir)
    stages = together(lambda: _asked(run, experiment, only, restart=restart))
    dataset = together(lambda: open_data(experiment))
    done = on_first(lambda: [stage.name for stage in stages if is_done(run, stage) and not restart])
    ahead = [stage for stage in stages if stage.name not in done]
    on_first(lambda: refuse_banks(run, experiment, ahead, restart=restart))
    evaluations = together(lambda: make_evaluations(experiment, ahead, dataset))
    on_first(lambda: enter(run, experiment, dataset.fingerprint, restart=restart))
    everything = experiment.graph.order()
    if any(experiment.training_of(stage).deterministic for stage in stages):
        prepare_deterministic()  # before the first of them, which may be another, begins
    try:
        with ExitStack() as stack:
            signals = signals or stack.enter_context(StopSignals())
            for stage in stages:
                if on_first(partial(is_done, run, stage)):
                    iterations = on_first(partial(_iterations_done, run, experiment, stage))
                    on_first(partial(cut_metrics, run.metrics(stage.name), iterations))
                    say(f"{stage.name}: done ({iterations} iterations)")
                    continue
                if signals.settle():
                    raise signals.stop(f"the beginning of {stage.name}")
                say(f"{stage.name}: stage {everything.index(stage) + 1} of {len(everything)}, {stage.clip}")
                train_stage(run, experiment, stage, dataset, evaluations.pop(stage.name), signals)
    finally:
        run.release()
    _summary(run, experiment, stages)
    return run


def enter(run: RunFolder, experiment: Experiment | ClassifierExperiment, fingerprint: str, *, restart: bool) -> None:
    """Create the run's folder, or enter it again; with ``restart`` put what stands there aside first.

    Raises:
        InputError: it holds something else, or another process trains in it.
    """
    if restart:
        _restart(run)
    run.refuse_others(experiment, fingerprint)
    run.begin(experiment, fingerprint)


def refuse_joint(experiment: Experiment) -> None:
    """Say plainly that joint training is declared but not built.

    Raises:
        InputError: a stage is marked to train jointly.
    """
    for stage in experiment.graph.stages:
        if stage.joint:
            raise InputError.of(
                f"graph.stages.{stage.name}.joint", "joint training (appendix H) is not built yet", "false"
            )


def is_done(run: RunFolder, stage: Stage) -> bool:
    """Whether the stage's artifact is there."""
    return (run.artifact(stage.name) / MANIFEST).is_file()


def _iterations_done(run: RunFolder, experiment: Experiment, stage: Stage) -> int:
    source = run.artifact(stage.source) if stage.source else None
    return read_own_manifest(run.artifact(stage.name), experiment, stage, source).iterations


def _asked(run: RunFolder, experiment: Experiment, only: str | None, *, restart: bool) -> list[Stage]:
    if only is None:
        return experiment.graph.order()
    chain = experiment.graph.chain(only)
    missing = [stage.name for stage in chain[:-1] if restart or not is_done(run, stage)]
    if missing:
        raise InputError.of(
            "--stage",
            f"{only!r} stands on {', '.join(missing)}, not trained in {run.path}{' after --restart' * restart}",
            "a stage whose sources are done",
        )
    return [chain[-1]]


def _restart(run: RunFolder) -> None:
    if aside := run.put_aside():
        say(f"the earlier run is now in {aside}")


def _summary(run: RunFolder, experiment: Experiment, stages: list[Stage]) -> None:
    say(f"trained in {run.path}:")
    for stage in stages:
        say(
            f"  {stage.name}: {run.artifact(stage.name)}, {run.metrics(stage.name).name}, "
            f"pictures and films in {run.samples(stage.name)}"
        )
    say(f"  TensorBoard: tensorboard --logdir {run.path / 'tensorboard'}")
    ends = [stage.name for stage in experiment.graph.leaves()]
    until = "" if [stages[-1].name] == ends else f" --stage {stages[-1].name}"
    say(f"generate from it: python tools/generate.py {run.path}{until}")
