"""The script by which a Slurm job trains a spec, however often the job has to be started for it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

import attrs

from framework.launch import SRUN
from registry import InputError, Problem
from registry.cli import REQUEUE

_TIMES = (
    r"(?P<minutes>\d+)",
    r"(?P<minutes>\d+):(?P<seconds>\d+)",
    r"(?P<hours>\d+):(?P<minutes>\d+):(?P<seconds>\d+)",
    r"(?P<days>\d+)-(?P<hours>\d+)",
    r"(?P<days>\d+)-(?P<hours>\d+):(?P<minutes>\d+)",
    r"(?P<days>\d+)-(?P<hours>\d+):(?P<minutes>\d+):(?P<seconds>\d+)",
)
_UNITS = {"days": 86400, "hours": 3600, "minutes": 60, "seconds": 1}
TRIES = 10
"""Starts of a job up to which one that a signal ended is started again."""
_EARLY = 60
"""Seconds that Slurm may send a signal before its time."""


@attrs.frozen(kw_only=True)
class Job:
    """What a job asks of Slurm."""

    name: str
    nodes: int = 1
    gpus_per_node: int = 8
    """Each gets a process of its own; with 0 there is one process per node, without a GPU."""
    cpus_per_gpu: int = 1
    seconds: int = 86400
    """Time limit of each start."""
    signal_seconds: int = 300
    """How long before the time limit training is asked to stop."""
    partition: str | None = None
    account: str | None = None
    folder: str = "."
    """Where the job runs."""

    @property
    def tasks_per_node(self) -> int:
        """Processes on each node."""
        return max(1, self.gpus_per_node)


def sbatch_script(job: Job, command: Sequence[str]) -> str:
    """A script for ``sbatch`` that runs ``command`` in every task, and again for as long as it ends with code 75.

    Args:
        job: what it asks for.
        command: program and arguments.

    Raises:
        InputError: the job asks for what Slurm would refuse or misread; every problem at once.
    """
    check_job(job)
    options = {
        "job-name": job.name,
        "partition": job.partition,
        "account": job.account,
        "nodes": str(job.nodes),
        "ntasks-per-node": str(job.tasks_per_node),
        "gpus-per-node": str(job.gpus_per_node) if job.gpus_per_node else None,
        "cpus-per-task": str(job.cpus_per_gpu),
        "time": _written(job.seconds),
        "signal": f"USR1@{job.signal_seconds}",
        "chdir": job.folder,
        "output": "%x-%j.out",
        "open-mode": "append",
    }
    # sbatch takes these lines apart much as a shell does.
    lines = [f"#SBATCH --{name}={shlex.quote(value)}" for name, value in options.items() if value is not None]
    start = shlex.join(["srun", *SRUN, f"--cpus-per-task={job.cpus_per_gpu}", *command])
    return _SCRIPT.format(options="\n".join([*lines, "#SBATCH --requeue"]), start=start, code=REQUEUE, tries=TRIES)


# A job that is cancelled, or started anew by Slurm itself, loses this shell at once, and with it the last lines.
_SCRIPT = """\
#!/bin/bash
{options}

# The signal before the time limit goes to the tasks: they save, and end with code {code}. Then the job goes back to the
# queue under its number; started again, the same command carries on. Pre-emption does the same by itself.
{start}
code=$?
# With 137 a task was killed, by hand or because memory ran out: that is worth some more tries, too.
if [ "$code" -eq {code} ] || {{ [ "$code" -eq 137 ] && [ "${{SLURM_RESTART_COUNT:-0}}" -lt {tries} ]; }}; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
"""


def check_job(job: Job) -> None:
    """Refuse what Slurm would refuse only in its queue, or misread.

    Raises:
        InputError: every problem at once, on the options of ``tools/sbatch.py``.
    """
    problems = []
    for option, number, least in (
        ("--nodes", job.nodes, 1),
        ("--gpus-per-node", job.gpus_per_node, 0),
        ("--cpus-per-gpu", job.cpus_per_gpu, 1),
    ):
        if number < least:
            problems.append(Problem(option, f"{number} is too few", f"at least {least}"))
    for option, word in (("--job-name", job.name), ("--partition", job.partition), ("--account", job.account)):
        if word is not None and not re.fullmatch(r"[\w.,+@:-]+", word):
            problems.append(Problem(option, f"{word!r} is no name for Slurm", "letters, digits and . , + @ : - _"))
    if not job.folder.isprintable():
        problems.append(Problem("working directory", f"{job.folder!r} cannot stand in a script", "a printable name"))
    if not 0 < job.signal_seconds < 1 << 16:
        problems.append(Problem("--signal-seconds", f"{job.signal_seconds} is not possible", "1 to 65535"))
    elif job.seconds <= job.signal_seconds + _EARLY:
        what = f"{_written(job.seconds)} is over when training is asked to stop, {job.signal_seconds} s before the end"
        longer = f"more than {_written(job.signal_seconds + _EARLY)}, or fewer --signal-seconds"
        problems.append(Problem("--time", what, longer))
    if problems:
        raise InputError(problems)


def time_limit(text: str) -> int:
    """The seconds of a time limit as Slurm writes it: ``90``, ``90:00``, ``1:30:00``, ``2-12``, ``2-12:30:00``.

    Raises:
        InputError: it is no such time, or none at all.
    """
    for pattern in _TIMES:
        if found := re.fullmatch(pattern, text, re.ASCII):
            seconds = sum(int(number) * _UNITS[unit] for unit, number in found.groupdict().items())
            if seconds:
                return seconds
    allowed = "D-HH:MM:SS, or a part: MM, MM:SS, HH:MM:SS, D-HH, D-HH:MM"
    raise InputError.of("--time", f"{text!r} is no time limit", allowed)


def _written(seconds: int) -> str:
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return f"{days}-{hours:02}:{minutes:02}:{seconds:02}"
