"""Commands called in the process of the test, which is quicker than to start Python and its libraries anew."""

import runpy
import sys
from pathlib import Path

import pytest


def call(path: Path, arguments, monkeypatch, capsys) -> tuple[int | str | None, str, str]:
    """Run the script ``path`` as a program: exit code, stdout and stderr."""
    monkeypatch.setattr(sys, "argv", [str(path), *arguments])
    monkeypatch.setattr(sys, "path", [str(path.parent), *sys.path])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(path), run_name="__main__")
    return ended.value.code, *capsys.readouterr()
