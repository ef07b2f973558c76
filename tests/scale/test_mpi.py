"""Two processes started by Open MPI's mpirun."""

import json
import subprocess
import sys

import pytest
from tiny_quickstart import ROOT, done, training

MEET = ROOT / "tests" / "services" / "meet.py"

pytestmark = pytest.mark.mpi


def test_processes_meet(mpirun):
    """Each has its own rank, and what they reduce is the sum over both."""
    ended = subprocess.run([*mpirun, sys.executable, MEET, "mpi"], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    found = [json.loads(line) for line in ended.stdout.splitlines()]
    assert {(each["rank"], each["local_rank"], each["world"], each["total"]) for each in found} == {
        (0, 0, 2, 3.0),
        (1, 1, 2, 3.0),
    }


def test_runs_do_not_meet_each_other(mpirun):
    """Two at once on one machine have ports of their own."""
    command = [*mpirun, sys.executable, MEET, "mpi", "3"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    running = [subprocess.Popen(command, **pipes) for _ in range(2)]
    said = [each.communicate() for each in running]
    assert [each.returncode for each in running] == [0, 0], said
    ports = [{json.loads(line)["port"] for line in out.splitlines()} for out, _ in said]
    assert [len(each) for each in ports] == [1, 1]
    assert ports[0] != ports[1]


def test_training(mpirun, tmp_path):
    """The quickstart trains; one of the two speaks."""
    command = training("mpi", tmp_path / "run", iterations=2)
    ended = subprocess.run([*mpirun, *command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert done(tmp_path / "run")
    assert ended.stdout.count(f"trained in {tmp_path / 'run'}") == 1
