"""Launchers, each real; a test that asks for one that is not here is skipped with the reason."""

import os
import sys

import pytest
from local_slurm import CannotStart, local_slurm
from mpirun import NoMPI, open_mpi
from tiny_quickstart import ROOT


@pytest.fixture(scope="session", autouse=True)
def environ():
    """Started programs find the project, and idle threads of one leave the processor to the other."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(ROOT / "tests" / "services")]))
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("OMP_WAIT_POLICY", "PASSIVE")
        patch.setenv("CUDA_VISIBLE_DEVICES", "")  # two processes, and perhaps one GPU
        for name in [name for name in os.environ if name.startswith(("SLURM_", "OMPI_", "PMI", "MASTER_"))]:
            patch.delenv(name)
        yield


@pytest.fixture(scope="session")
def slurm(environ):
    """A Slurm of one node with two GPUs in name."""
    try:
        with local_slurm() as running:
            yield running
    except CannotStart as reason:
        pytest.skip(f"no Slurm: {reason}")


@pytest.fixture(scope="session")
def two_nodes(environ):
    """A Slurm of two nodes."""
    try:
        with local_slurm(nodes=2) as running:
            yield running
    except CannotStart as reason:
        pytest.skip(f"no Slurm of two nodes: {reason}")


@pytest.fixture(scope="session")
def mpirun(environ):
    """Open MPI's command for two processes."""
    try:
        return open_mpi()
    except NoMPI as reason:
        pytest.skip(f"no MPI: {reason}")


@pytest.fixture(scope="session")
def torchrun(environ):
    """The command of torchrun for two processes."""
    return [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
