"""Ingestion that is killed before any one of its changes to the disk."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STEPS = {"fresh": 19, "resume": 11, "merge": 4, "overwrite": 19, "shares": 19}
"""Before every how many changes; 1 tries all of them and takes some minutes."""


@pytest.mark.parametrize(("phase", "step"), STEPS.items())
def test_killed_before_a_change(tmp_path, phase, step):
    """Killed before its n-th change to the disk and given again, the command ends in the same bytes and no others."""
    command = [sys.executable, str(Path(__file__).with_name("crash_points.py")), str(tmp_path / "here"), phase]
    done = subprocess.run(
        [*command, str(step)], capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert done.returncode == 0, done.stderr
    tried, *wrong = done.stdout.splitlines()
    assert not wrong
    assert int(tried) > 50 // step
