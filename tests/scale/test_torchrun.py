"""Two processes started by torchrun."""

import json
import subprocess

from tiny_quickstart import ROOT, done, training

MEET = ROOT / "tests" / "services" / "meet.py"


def test_processes_meet(torchrun):
    """Each has its own rank, and what they reduce is the sum over both."""
    ended = subprocess.run([*torchrun, MEET, "pytorch"], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    found = [json.loads(line) for line in ended.stdout.splitlines()]
    assert {(each["rank"], each["local_rank"], each["world"], each["total"]) for each in found} == {
        (0, 0, 2, 3.0),
        (1, 1, 2, 3.0),
    }
    assert {each["backend"] for each in found} == {"gloo"}


def test_training(torchrun, tmp_path):
    """The quickstart trains; one of the two speaks."""
    command = training("pytorch", tmp_path / "run", iterations=2)[1:]
    ended = subprocess.run([*torchrun, *command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert done(tmp_path / "run")
    assert ended.stdout.count(f"trained in {tmp_path / 'run'}") == 1
