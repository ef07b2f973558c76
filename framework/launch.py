"""Joining the processes that ``torchrun``, ``srun`` or ``mpirun`` has started into one process group.

Where a process stands among them is read from the environment (:func:`place`); :func:`launched` makes the group.
MMEngine is never told of a launcher: it finds the group there.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from framework.process_group import RENDEZVOUS, Place, process_group
from framework.together import end_control, start_control
from framework.watch import Watch
from registry import InputError
from registry.cli import speak_as
from registry.errors import AgreedError

LAUNCHERS = ("none", "pytorch", "slurm", "mpi")

SRUN = ("--kill-on-bad-exit=0", "--wait=120")
"""How ``srun`` treats tasks of which one has ended: the others have two minutes. Told to kill them at once, it would
kill those that are still ending with code 75 and end with another code itself."""

_STARTS = {
    "pytorch": "torchrun --nproc-per-node 8 tools/train.py SPEC --launcher pytorch",
    "slurm": "srun --ntasks-per-node 8 python tools/train.py SPEC --launcher slurm",
    "mpi": "mpirun -n 8 --bind-to none python tools/train.py SPEC --launcher mpi",
}

_FIRST_PORT, _PORTS = 16384, 16384
"""The ports above those of well-known services and below those that Linux gives out by itself (32768 on)."""
_STEPS = 16
"""Steps of a job with ports of their own; as many as running jobs on a node can be."""
_NO_STEP = 0xFFFFFFF0
"""Slurm's step numbers from here on are batch scripts and interactive shells."""


def place(launcher: str, environ: Mapping[str, str]) -> Place | None:
    """The place that ``launcher`` has given this process; None for ``none``.

    ``MASTER_ADDR`` and ``MASTER_PORT`` override what is derived from the variables of Slurm or MPI. Where all
    processes are on one machine they meet on its loopback interface, otherwise on the first host of the Slurm step.
    Ports follow from the job's number, so that jobs that share a machine do not meet each other.

    Args:
        launcher: one of :data:`LAUNCHERS`.
        environ: the environment.

    Raises:
        InputError: on ``--launcher``, when the launcher has not started this process; on a variable, when it
            holds nothing that fits or has to be given.
    """
    if launcher == "none":
        _refuse_unasked(_Variables(launcher, environ))
        return None
    found = {"pytorch": _of_torchrun, "slurm": _of_slurm, "mpi": _of_mpi}[launcher](_Variables(launcher, environ))
    if found.rank >= found.world:
        raise InputError.of(
            "--launcher", f"{launcher!r} says that this is rank {found.rank} of {found.world}", "ranks below the number"
        )
    return found


@contextmanager
def launched(launcher: str, patience: float = RENDEZVOUS) -> Iterator[Place | None]:
    """While entered, this process is one of those that train together; with ``none`` nothing happens.

    With ``slurm``, in an allocation but in none of its steps, the process becomes the ``srun`` that starts its own
    command in all tasks of the allocation.

    Args:
        launcher: one of :data:`LAUNCHERS`.
        patience: seconds that the processes wait for each other.

    Raises:
        InputError: as in :func:`place`; or the processes have not met, or several of them have one GPU.
    """
    if launcher == "slurm" and (command := step_command(os.environ, [sys.executable, *sys.orig_argv[1:]])):
        os.execvp(command[0], command)  # noqa: S606  # Slurm's own command, and ours behind it
    here = place(launcher, os.environ)
    if here is None:
        yield None
        return
    speak_as(here.rank, here.world)
    with process_group(here, patience):
        start_control()
        try:
            with Watch():
                yield here
        finally:
            end_control()


def step_command(environ: Mapping[str, str], command: Sequence[str]) -> list[str] | None:
    """What runs ``command`` in all tasks of the Slurm allocation; None outside of one, and within its steps."""
    step = environ.get("SLURM_STEP_ID", "")
    if "SLURM_JOB_ID" not in environ or (step.isdecimal() and int(step) < _NO_STEP):
        return None
    # srun does not take this over from the allocation by itself.
    cpus = [f"--cpus-per-task={environ['SLURM_CPUS_PER_TASK']}"] if environ.get("SLURM_CPUS_PER_TASK") else []
    return ["srun", *SRUN, *cpus, *command]


def _refuse_unasked(variables: _Variables) -> None:
    """Several processes that know nothing of each other would train the same run."""
    counts = {
        "pytorch": ("WORLD_SIZE", "RANK"),
        "slurm": ("SLURM_STEP_NUM_TASKS", "SLURM_PROCID"),
        "mpi": ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"),
    }
    for launcher, (size, rank) in counts.items():
        if variables.known(size) and variables.known(rank) and (world := variables.number(size)) > 1:
            speak_as(variables.number(rank), world)
            what = f"{_STARTS[launcher].partition(' ')[0]} has started {world} processes, which are not to train alone"
            raise AgreedError.of("--launcher", what, launcher)


class _Variables:
    """The environment, as a launcher has to have set it."""

    def __init__(self, launcher: str, environ: Mapping[str, str]) -> None:
        self._launcher, self._environ = launcher, environ

    def known(self, *names: str) -> bool:
        """Whether any of ``names`` is set."""
        return any(self._environ.get(name) for name in names)

    def text(self, *names: str) -> str:
        """What the first of ``names`` that is set holds."""
        for name in names:
            if value := self._environ.get(name):
                return value
        raise InputError.of(
            "--launcher",
            f"{self._launcher!r} finds no {' or '.join(names)} in the environment",
            f"a start by {_STARTS[self._launcher].partition(' ')[0]}: {_STARTS[self._launcher]}",
        )

    def number(self, *names: str) -> int:
        """The whole number that the first of ``names`` that is set holds."""
        value = self.text(*names)
        if not re.fullmatch(r"[0-9]+", value):
            name = next(name for name in names if self._environ.get(name))
            raise InputError.of(name, f"{value!r} is no number", "a whole number, at least 0")
        return int(value)

    def port(self, derived: int) -> int:
        """``MASTER_PORT``, or the port of the job with the number ``derived``."""
        if not self.known("MASTER_PORT"):
            return _FIRST_PORT + derived % _PORTS
        port = self.number("MASTER_PORT")
        if not 0 < port < 1 << 16:
            raise InputError.of("MASTER_PORT", f"{port} is no port", "1 to 65535")
        return port


def _of_torchrun(variables: _Variables) -> Place:
    rank, world, local_rank = (variables.number(name) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
    address, _ = variables.text("MASTER_ADDR"), variables.text("MASTER_PORT")
    return Place(rank, world, local_rank, address, variables.port(0))


def _of_slurm(variables: _Variables) -> Place:
    rank, local_rank = variables.number("SLURM_PROCID"), variables.number("SLURM_LOCALID")
    world = variables.number("SLURM_STEP_NUM_TASKS", "SLURM_NTASKS")
    step = variables.number("SLURM_STEP_ID") if variables.known("SLURM_STEP_ID") else 0
    port = variables.port(variables.number("SLURM_JOB_ID") * _STEPS + step % _STEPS)
    if variables.known("MASTER_ADDR"):
        address = variables.text("MASTER_ADDR")
    elif variables.number("SLURM_STEP_NUM_NODES", "SLURM_JOB_NUM_NODES", "SLURM_NNODES") == 1:
        address = "127.0.0.1"
    else:
        address = _first_host(variables.text("SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST"))
    return Place(rank, world, local_rank, address, port)


def _first_host(hosts: str) -> str:
    """The first of Slurm's list of hosts: ``node[03-07,12]`` is a list."""
    first = hosts.partition(",")[0]
    if "[" not in first:
        return first
    if (scontrol := shutil.which("scontrol")) is None:
        what = f"must be given, since no scontrol is here to take the list of hosts {hosts} apart"
        raise InputError.of("MASTER_ADDR", what, "the name of the step's first host")
    found = subprocess.run([scontrol, "show", "hostnames", hosts], capture_output=True, text=True, check=False)  # noqa: S603
    if found.returncode or not found.stdout.split():
        what = f"must be given, since scontrol does not take the list of hosts {hosts} apart: {found.stderr.strip()}"
        raise InputError.of("MASTER_ADDR", what, "the name of the step's first host")
    return found.stdout.split()[0]


def _of_mpi(variables: _Variables) -> Place:
    if variables.known("OMPI_COMM_WORLD_RANK"):  # Open MPI
        prefix = "OMPI_COMM_WORLD_"
        names = [prefix + name for name in ("RANK", "SIZE", "LOCAL_RANK", "LOCAL_SIZE")]
    else:  # MPICH and its kin
        variables.text("OMPI_COMM_WORLD_RANK", "PMI_RANK")
        names = ["PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"]
    rank, world, local_rank, local_world = (variables.number(name) for name in names)
    if variables.known("MASTER_ADDR"):
        address = variables.text("MASTER_ADDR")
    elif local_world == world:
        address = "127.0.0.1"
    else:
        what = f"must be given, since {world} processes run on several machines and mpirun does not say on which"
        raise InputError.of("MASTER_ADDR", what, "rank 0's host: mpirun -x MASTER_ADDR=HOST (MPICH: -genv)")
    if not variables.known("MASTER_PORT", "PMIX_NAMESPACE"):
        what = "must be given, since this mpirun does not number its jobs"
        raise InputError.of("MASTER_PORT", what, "a free port of rank 0's host: mpirun -genv MASTER_PORT 20000")
    job = variables.text("PMIX_NAMESPACE") if variables.known("PMIX_NAMESPACE") else ""
    return Place(rank, world, local_rank, address, variables.port(zlib.crc32(job.encode())))
