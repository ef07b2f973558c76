"""Signals that come while a command still imports its libraries."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[2] / "tools" / "train.py"
# In place of the library: its import takes as long as the test wants.
TORCH = """
import pathlib, time
pathlib.Path("importing").touch()
time.sleep(60)
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 75), (signal.SIGUSR1, 75), (signal.SIGINT, 130)])
def test_signals_while_libraries_are_imported(tmp_path, number, code):
    """The command ends without a word, with the code that it would have later."""
    (tmp_path / "torch.py").write_text(TORCH)
    environ = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, str(TOOL), "exp/quickstart.py"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=tmp_path, env=environ, **pipes) as running:
        while not (tmp_path / "importing").exists():
            assert running.poll() is None, running.stderr.read()
            time.sleep(0.02)
        running.send_signal(number)
        said = running.communicate()
    assert (running.returncode, *said) == (code, b"", b"")
