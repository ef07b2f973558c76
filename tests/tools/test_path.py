"""Commands run by a Python that lacks the project's libraries."""

import subprocess
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).parents[2] / "tools"


@pytest.mark.parametrize("tool", ["train.py", "ingest.py", "components.py"])
def test_another_python(tool, tmp_path):
    """One line says what is missing and where, in place of a traceback."""
    bare = [sys.executable, "-E", "-S"]  # without installed packages
    ended = subprocess.run([*bare, TOOLS / tool, "--help"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert len(ended.stderr.splitlines()) == 1
    assert ended.stderr.startswith(f"error: {sys.executable}: attrs, torch, mmengine is not installed there; allowed: ")
