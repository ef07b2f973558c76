"""Files of tensors: what they hold, and who may read them."""

import os

import pytest
import torch
from safetensors.torch import load_file
from tiny_runs import copy_of

from framework.other_lengths import estimate_for
from framework.tensor_file import save_tensors
from registry import InputError


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077, 0o002])
def test_permissions_are_those_of_any_new_file(tmp_path, umask):
    """A file of tensors may be read by whoever may read a text file made beside it; what it holds comes back."""
    before = os.umask(umask)
    try:
        tensors = {"a": torch.randn(3, 4).T, "b": torch.arange(3)}
        save_tensors(tmp_path / "a.safetensors", tensors)
        (tmp_path / "text").write_text("")
    finally:
        os.umask(before)
    modes = {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes == {0o666 & ~umask}
    found = load_file(tmp_path / "a.safetensors")
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())


def test_every_file_of_a_run_can_be_read_by_a_colleague(trained, tmp_path):
    """Artifacts, statistics, checkpoints and all else are as readable as any file made under this umask."""
    run = copy_of(trained, tmp_path / "run")
    estimate_for(run.path, 12, passes=1, batch=2)
    (tmp_path / "text").write_text("")
    mode = (tmp_path / "text").stat().st_mode
    files = [path for path in run.path.rglob("*") if path.is_file()]
    assert len([path for path in files if path.suffix in (".safetensors", ".pt")]) >= 8
    assert {path for path in files if path.stat().st_mode != mode} == set()


def test_an_error_names_the_file_that_was_to_be(tmp_path):
    """Not the one beside, which is only there for a moment."""
    with pytest.raises((InputError, OSError)) as caught:
        save_tensors(tmp_path / "none" / "a.partial", {"a": torch.zeros(1)}, tmp_path / "none" / "a.safetensors")
    assert "a.safetensors" in str(caught.value)
    assert "partial" not in str(caught.value)
