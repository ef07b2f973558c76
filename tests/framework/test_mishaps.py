"""Errors of torch in words of what the user can do; others come out as they are."""

import attrs
import pytest
import torch
from small_specs import upsampling_stage

from components import ranks
from framework import Training
from framework.mishaps import explained
from registry import InputError
from registry.cli import REQUEUE
from registry.errors import Stopped

STAGE = upsampling_stage()
PLAIN = Training(batch_size=64)


def said(error: BaseException, training: Training = PLAIN) -> str:
    with pytest.raises(InputError) as caught, explained(STAGE, training):
        raise error
    assert caught.value.__cause__ is error
    return str(caught.value)


def test_more_memory_than_there_is():
    """For real: torch's own error of the CPU's allocator becomes a line with the stage and what to lower."""
    with pytest.raises(InputError) as caught, explained(STAGE, PLAIN):
        torch.empty(1 << 60)
    assert str(caught.value) == (
        "full: memory is too small for 64 clips at once; allowed: training.clips_per_gpu=32 or "
        "training.activation_checkpointing=true or training.precision=bfloat16"
    )


@pytest.mark.parametrize(
    ("changes", "world", "clips", "lower"),
    [
        ({}, 4, 16, "training.clips_per_gpu=8 or training.activation_checkpointing=true or training.precision"),
        ({"clips_per_gpu": 6}, 4, 6, "training.clips_per_gpu=3 or "),
        ({"clips_per_gpu": 100}, 8, 8, "training.clips_per_gpu=4 or "),
        ({"clips_per_gpu": 1}, 1, 1, "a smaller network or window or training.activation_checkpointing=true"),
        ({"clips_per_gpu": 1, "activation_checkpointing": True, "precision": "bfloat16"}, 1, 1,
         "a smaller network or window"),
    ],
)  # fmt: skip
def test_what_to_lower(monkeypatch, changes, world, clips, lower):
    """Half of the clips that were taken at once, and what is not done already; of the GPU's memory on a GPU."""
    monkeypatch.setattr(ranks, "world", lambda: world)
    training = attrs.evolve(PLAIN, **changes)
    for error, which in (
        (torch.OutOfMemoryError("CUDA out of memory."), "the GPU's memory"),
        (MemoryError(), "memory"),
    ):
        line = said(error, training)
        assert line.startswith(f"full: {which} is too small for {clips} clips at once; allowed: {lower}")
        assert ("activation_checkpointing" in line) != training.activation_checkpointing
        assert ("precision" in line) == (training.precision == "float32")


@pytest.mark.parametrize(
    "text",
    [
        "CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported at some other API call",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "NCCL error in: ProcessGroupNCCL.cpp:94, unhandled cuda error\nFailed to CUDA calloc: out of memory",
    ],
)
def test_memory_that_torch_does_not_hand_out(text):
    """Handles of cuBLAS and cuDNN, and NCCL's buffers, fill a GPU as well, and say so in words of their own."""
    assert said(RuntimeError(text)).startswith("full: the GPU's memory is too small for 64 clips at once; allowed: ")


def test_a_killed_loader_process():
    """To be started again: the exit code says so, and the line says what may help."""
    text = "DataLoader worker (pid 123) is killed by signal: Killed. \nmore"
    with pytest.raises(Stopped) as caught, explained(STAGE, PLAIN):
        raise RuntimeError(text)
    assert caught.value.code == REQUEUE
    assert caught.value.line.startswith("error: full: DataLoader worker (pid 123) is killed by signal: Killed; ")
    assert "training.workers" in caught.value.line
    assert "\n" not in caught.value.line


def test_no_deterministic_kernel():
    """The line names the field and torch's own name of the operation."""
    text = "max_unpooling2d_forward_out does not have a deterministic implementation, but you set '...'. You can"
    assert said(RuntimeError(text)) == (
        "training.deterministic: full computes max_unpooling2d_forward_out, of which torch has no deterministic "
        "kernel here; allowed: false"
    )


@pytest.mark.parametrize("error", [RuntimeError("shapes do not fit"), ZeroDivisionError("x"), KeyError("memory")])
def test_faults_of_the_program_are_not_explained_away(error):
    """What is no mishap is raised as it is."""
    with pytest.raises(type(error)) as caught, explained(STAGE, PLAIN):
        raise error
    assert caught.value is error
