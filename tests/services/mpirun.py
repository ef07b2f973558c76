"""The machine's ``mpirun``, tried."""

from __future__ import annotations

import os
import shutil
import subprocess


class NoMPI(Exception):  # noqa: N818  # no error: tests skip
    """Why there is none here."""


def open_mpi() -> list[str]:
    """The command that starts what follows it in two processes.

    Raises:
        NoMPI: there is no ``mpirun`` of Open MPI, or it does not start anything here.
    """
    # Debian names it so beside MPICH's, which may be the one called mpirun.
    found = shutil.which("mpirun.openmpi") or shutil.which("mpirun")
    if found is None:
        raise NoMPI("mpirun is not installed (Debian: openmpi-bin)")
    # Open MPI would bind each of two processes, with all that it starts, to one core.
    options = ["--oversubscribe", "--bind-to", "none", *(["--allow-run-as-root"] if os.geteuid() == 0 else [])]
    command = [found, *options, "-n", "2"]
    tried = subprocess.run([*command, "true"], capture_output=True, text=True, timeout=60, check=False)
    if tried.returncode:
        raise NoMPI(f"{' '.join(command)} true: {tried.stdout}{tried.stderr}")
    return command
