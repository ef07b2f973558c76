"""Write the sbatch script that trains SPEC on a Slurm cluster, over as many starts of the job as it takes."""

from __future__ import annotations

import _path  # noqa: F401  # before any other import: see there

import argparse
import sys
from pathlib import Path

from framework.batch import refuse_uneven
from framework.classifier import ClassifierExperiment
from framework.experiment import Experiment
from framework.sbatch import Job, sbatch_script, time_limit
from framework.spec_file import load_any_spec
from framework.targets import refuse_file
from registry import InputError
from registry.cli import note, run, say

TRAIN = Path(__file__).resolve().with_name("train.py")


def main(arguments: argparse.Namespace) -> int:
    """Check the spec and the job, then print or write the script."""
    if arguments.out is not None:
        refuse_file(arguments.out)
    experiment, notes = load_any_spec(arguments.spec, arguments.set)
    job = Job(
        name=experiment.name if arguments.job_name is None else arguments.job_name,
        nodes=arguments.nodes,
        gpus_per_node=arguments.gpus_per_node,
        cpus_per_gpu=_cpus(experiment) if arguments.cpus_per_gpu is None else arguments.cpus_per_gpu,
        seconds=time_limit(arguments.time),
        signal_seconds=arguments.signal_seconds,
        partition=arguments.partition,
        account=arguments.account,
        folder=str(Path.cwd()),
    )
    command = [sys.executable, str(TRAIN), arguments.spec, "--launcher", "slurm"]
    if arguments.work_dir is not None:
        command += ["--work-dir", str(arguments.work_dir)]
    for setting in arguments.set:
        command += ["--set", setting]
    script = sbatch_script(job, command)
    refuse_uneven(experiment, job.nodes * job.tasks_per_node)
    note(*notes)
    if arguments.out is None:
        say(script.rstrip("\n"))
    else:
        _write(arguments.out, script)
        say(f"submit it: sbatch {arguments.out}")
    return 0


def _cpus(experiment: Experiment | ClassifierExperiment) -> int:
    """One CPU for a process and one for each of its loader's."""
    if isinstance(experiment, ClassifierExperiment):
        return 1 + experiment.training.workers
    return 1 + max(experiment.training_of(stage).workers for stage in experiment.graph.stages)


def _write(path: Path, script: str) -> None:
    try:
        with path.open("x") as file:
            file.write(script)
    except FileExistsError:
        raise InputError.of("--out", f"{path} is there already", "a new file") from None


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="tools/sbatch.py",
        description=__doc__,
        epilog="example: python tools/sbatch.py exp/bdd_3stage.py --nodes 16 --time 2-00:00:00 --out bdd.sbatch; "
        "the job runs in the current directory",
    )
    parser.add_argument("spec", metavar="SPEC", help="a Python spec, or a saved spec.json; it is checked first")
    parser.add_argument("--nodes", type=int, default=1, metavar="N", help="machines (default: %(default)s)")
    parser.add_argument(
        "--gpus-per-node",
        type=int,
        default=8,
        metavar="N",
        help="GPUs on each, with a process for each; 0 for one process per node without a GPU (default: %(default)s)",
    )
    parser.add_argument(
        "--cpus-per-gpu", type=int, metavar="N", help="CPUs of each process (default: training.workers and one more)"
    )
    parser.add_argument(
        "--time", default="1-00:00:00", metavar="D-HH:MM:SS", help="limit of each start (default: %(default)s)"
    )
    parser.add_argument(
        "--signal-seconds",
        type=int,
        default=300,
        metavar="N",
        help="how long before the limit training saves and goes back to the queue (default: %(default)s)",
    )
    parser.add_argument("--partition", metavar="P", help="where to queue (default: the cluster's)")
    parser.add_argument("--account", metavar="A", help="whom to charge (default: yours)")
    parser.add_argument("--job-name", metavar="NAME", help="of the job and its output (default: the experiment's)")
    parser.add_argument("--work-dir", type=Path, metavar="DIR", help="folder of the run (default: runs/NAME)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="as for tools/train.py; checked now, used then"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="a new file for the script (default: print it)")
    return parser


if __name__ == "__main__":
    sys.exit(run(main, parser()))
