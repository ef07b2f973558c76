"""Imported first by every command, so that ``import components`` finds the package and not ``components.py`` here.

Python puts the folder of a script in front of its module path, and this folder holds a command of that name.
The folder goes to the end, since a spawned worker process imports the command's file, and this one, anew.
"""

import sys
from importlib.util import find_spec
from pathlib import Path

_here = Path(__file__).resolve().parent
_others = [entry for entry in sys.path if Path(entry).resolve() not in (_here, _here.parent)]
sys.path[:] = [str(_here.parent), *_others, str(_here)]

if _missing := [name for name in ("attrs", "torch", "mmengine") if find_spec(name) is None]:
    sys.stderr.write(
        f"error: {sys.executable}: {', '.join(_missing)} is not installed there; "
        f"allowed: a Python with the project installed, such as .venv/bin/python, which make prepares\n"
    )
    raise SystemExit(2)
