"""The declaration of torchvision's operators, each case in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

START = """
import sys, torch
from components import torchvision_cpu
from components.torchvision_cpu import ensure_torchvision_imports
"""
ROOT = Path(__file__).resolve().parents[2]


def python(program: str, *folders: Path) -> str:
    """What ``program`` prints, with ``folders`` before everything else that Python imports from."""
    paths = [f"sys.path.insert(0, {str(folder)!r})" for folder in folders]
    program = "\n".join([START, *paths, program])
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def broken_torchvision(tmp_path: Path) -> Path:
    """A package of that name whose compiled library cannot be loaded."""
    package = tmp_path / "torchvision"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "_C.so").write_bytes(b"no library")
    return tmp_path


def test_timm_imports() -> None:
    """After two calls the installed torchvision and timm import, whichever torch stands beside them."""
    assert python("ensure_torchvision_imports(); ensure_torchvision_imports(); import timm; print('ok')") == "ok"


def test_declares_what_a_broken_library_does_not(broken_torchvision: Path) -> None:
    """Where the library cannot be loaded the operators exist, once, and calling one still fails."""
    program = """
ensure_torchvision_imports(); ensure_torchvision_imports()
print(len(torchvision_cpu._declared), torch.ops.torchvision.nms.default._schema)
try:
    torch.ops.torchvision.nms(torch.zeros(1, 4), torch.zeros(1), 0.5)
except NotImplementedError:
    print("refused")
"""
    lines = python(program, broken_torchvision).splitlines()
    assert lines == ["1 torchvision::nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor", "refused"]


def test_leaves_a_library_that_loads_alone(broken_torchvision: Path) -> None:
    """Where loading the library declares the operators, nothing is declared a second time."""
    program = """
own = torch.library.Library("torchvision", "DEF")
def load(path):
    print(path.rsplit("/", 1)[-1])
    own.define("nms(Tensor boxes) -> Tensor")
    own.define("qnms(Tensor boxes) -> Tensor")
torch.ops.load_library = load
ensure_torchvision_imports(); ensure_torchvision_imports()
print(len(torchvision_cpu._declared), torch.ops.torchvision.nms.default._schema)
"""
    assert python(program, broken_torchvision).splitlines() == ["_C.so", "0 torchvision::nms(Tensor boxes) -> Tensor"]


def test_does_nothing_without_torchvision() -> None:
    """Where torchvision is not installed, no operator is declared in its name."""
    program = """
sys.modules["torchvision"] = None
ensure_torchvision_imports()
print(hasattr(torch.ops.torchvision, "nms"))
"""
    assert python(program) == "False"
