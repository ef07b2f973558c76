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
    """A package of that name that refers, as torchvision does, to operators which no library declared."""
    package = tmp_path / "torchvision"
    package.mkdir()
    (package / "__init__.py").write_text("from torchvision import ops\n")
    (package / "ops.py").write_text(
        "import torch\n@torch.library.register_fake('torchvision::nms')\ndef nms(dets, scores, threshold): ...\n"
    )
    return tmp_path


def test_timm_imports() -> None:
    """After two calls the installed torchvision and timm import, whichever torch stands beside them."""
    assert python("ensure_torchvision_imports(); ensure_torchvision_imports(); import timm; print('ok')") == "ok"


def test_declares_what_is_missing(broken_torchvision: Path) -> None:
    """Where importing fails for want of the operators they exist afterwards, once, and calling one still fails."""
    program = """
ensure_torchvision_imports(); ensure_torchvision_imports()
import torchvision
print(len(torchvision_cpu._declared), torch.ops.torchvision.nms.default._schema, torchvision.ops.__name__)
try:
    torch.ops.torchvision.nms(torch.zeros(1, 4), torch.zeros(1), 0.5)
except NotImplementedError:
    print("refused")
"""
    schema = "torchvision::nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
    assert python(program, broken_torchvision).splitlines() == [f"1 {schema} torchvision.ops", "refused"]


def test_leaves_a_torchvision_that_imports_alone(broken_torchvision: Path) -> None:
    """Where torchvision's own library declares the operators, nothing is declared a second time."""
    (broken_torchvision / "torchvision" / "__init__.py").write_text(
        "import torch\nown = torch.library.Library('torchvision', 'DEF')\nown.define('nms(Tensor boxes) -> Tensor')\n"
    )
    program = (
        "ensure_torchvision_imports(); print(torchvision_cpu._declared, torch.ops.torchvision.nms.default._schema)"
    )
    assert python(program, broken_torchvision) == "[] torchvision::nms(Tensor boxes) -> Tensor"


def test_another_failure_is_not_hidden(broken_torchvision: Path) -> None:
    """An import that fails for another reason still fails."""
    (broken_torchvision / "torchvision" / "__init__.py").write_text("raise RuntimeError('driver too old')")
    program = """
try:
    ensure_torchvision_imports()
except RuntimeError as error:
    print(error)
"""
    assert python(program, broken_torchvision) == "driver too old"


def test_does_nothing_without_torchvision() -> None:
    """Where torchvision is not installed, no operator is declared in its name."""
    program = """
sys.modules["torchvision"] = None
ensure_torchvision_imports()
print(hasattr(torch.ops.torchvision, "nms"))
"""
    assert python(program) == "False"
