"""Train the cascade that SPEC declares, its stages one after another, or a classifier. The same command carries on."""

from __future__ import annotations

import _path  # noqa: F401  # before any other import: see there
import _signals  # noqa: F401  # before the libraries: see there

import argparse
import sys
from pathlib import Path

from framework.classifier import ClassifierExperiment
from framework.describe import describe, describe_json
from framework.describe_classifier import describe_classifier, describe_classifier_json
from framework.experiment import Experiment
from framework.launch import LAUNCHERS, launched
from framework.spec_file import load_any_spec
from framework.stopping import StopSignals
from framework.together import together
from framework.train import train
from framework.train_classifier import train_classifier
from registry import InputError
from registry.cli import note, run, say


def main(arguments: argparse.Namespace) -> int:
    """Train, or say what would be trained."""
    if arguments.dry_run:
        experiment = _experiment(arguments)
        say(_described(experiment, as_json=arguments.json))
        return 0
    with StopSignals(to_the_end=True) as signals, launched(arguments.launcher):
        experiment = together(lambda: _experiment(arguments))
        work_dir = arguments.work_dir or Path("runs") / experiment.name
        if isinstance(experiment, ClassifierExperiment):
            train_classifier(experiment, work_dir, restart=arguments.restart, signals=signals)
        else:
            train(experiment, work_dir, arguments.stage, restart=arguments.restart, signals=signals)
    return 0


def _described(experiment: Experiment | ClassifierExperiment, *, as_json: bool) -> str:
    if isinstance(experiment, ClassifierExperiment):
        return describe_classifier_json(experiment) if as_json else describe_classifier(experiment)
    return describe_json(experiment) if as_json else describe(experiment)


def _experiment(arguments: argparse.Namespace) -> Experiment | ClassifierExperiment:
    experiment, notes = load_any_spec(arguments.spec, arguments.set)
    note(*notes)
    if isinstance(experiment, ClassifierExperiment):
        if arguments.stage is not None:
            raise InputError.of("--stage", "a classifier has no stages", "no --stage")
    elif arguments.stage is not None and arguments.stage not in experiment.graph.names():
        raise InputError.unknown("--stage", "stage", arguments.stage, experiment.graph.names())
    if arguments.json and not arguments.dry_run:
        raise InputError.of("--json", "prints a dry run, and there is none", allowed="--json with --dry-run")
    return experiment


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="tools/train.py",
        description=__doc__,
        epilog="examples: python tools/train.py exp/quickstart.py --set training.iterations=100; "
        "python tools/train.py exp/bdd_3stage.py --dry-run",
    )
    parser.add_argument("spec", metavar="SPEC", help="a Python spec, or a saved spec.json")
    parser.add_argument("--work-dir", type=Path, metavar="DIR", help="folder of the run (default: runs/NAME)")
    parser.add_argument("--stage", metavar="NAME", help="train this stage alone; those before it must be done")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change the spec: training.batch_size=64, stages.mid.window=6, stages.mid.generator.channels=64, "
        "stages.mid.view=AreaView, stages.mid.discriminators.matching=null; may be given several times",
    )
    parser.add_argument(
        "--launcher",
        choices=LAUNCHERS,
        default="none",
        help="what started the processes of this run: nothing, torchrun, srun or mpirun (default: %(default)s)",
    )
    parser.add_argument("--dry-run", action="store_true", help="check the spec at full size, print it, train nothing")
    parser.add_argument("--json", action="store_true", help="with --dry-run: print JSON")
    parser.add_argument("--restart", action="store_true", help="put an earlier run in DIR aside and begin anew")
    return parser


if __name__ == "__main__":
    sys.exit(run(main, parser()))
