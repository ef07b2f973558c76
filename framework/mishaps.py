"""What may befall a training, in words of what the user can do about it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from components import ranks
from framework.experiment import Training
from framework.graph import Stage
from registry import InputError
from registry.cli import REQUEUE
from registry.errors import Stopped

_GPU_IS_FULL = r"out of memory|CU(BLAS|DNN|SOLVER|FFT)_STATUS_ALLOC_FAILED"
"""What CUDA, NCCL and libraries of kernels say where the memory is short that they take beside torch's allocator."""


@contextmanager
def explained(stage: Stage, training: Training) -> Iterator[None]:
    """:func:`explained_as` for a stage of a cascade."""
    share = training.batch_size // ranks.world()
    clips = min(share, training.clips_per_gpu or share)
    lower = [f"training.clips_per_gpu={max(1, clips // 2)}"] if clips > 1 else ["a smaller network or window"]
    if not training.activation_checkpointing:
        lower.append("training.activation_checkpointing=true")
    if training.precision == "float32":
        lower.append("training.precision=bfloat16")
    with explained_as(stage.name, clips, lower):
        yield


@contextmanager
def explained_as(name: str, clips: int, lower: Sequence[str]) -> Iterator[None]:
    """Errors of torch that are not the program's, said plainly.

    Args:
        name: of what trains.
        clips: that are in memory at once.
        lower: what takes less memory.

    Raises:
        InputError: memory ran out; or only deterministic kernels are asked for, and there is none.
        Stopped: a loader process was killed; the same command carries on.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise _out_of_memory(name, clips, lower, "the GPU's memory") from error
    except MemoryError as error:
        raise _out_of_memory(name, clips, lower, "memory") from error
    except RuntimeError as error:
        text = str(error)
        if "can't allocate memory" in text or "not enough memory" in text:
            raise _out_of_memory(name, clips, lower, "memory") from error
        if re.search(_GPU_IS_FULL, text):
            raise _out_of_memory(name, clips, lower, "the GPU's memory") from error
        if re.match(r"DataLoader worker .*(killed by signal|exited unexpectedly)", text):
            line = (
                f"error: {name}: {text.splitlines()[0].rstrip('. ')}; where memory is short, fewer "
                "training.workers help; the same command carries on from the last checkpoint"
            )
            raise Stopped(REQUEUE, line, own=True) from error
        if (found := re.match(r"(\S+) does not have a deterministic implementation", text)) is not None:
            what = f"{name} computes {found[1]}, of which torch has no deterministic kernel here"
            raise InputError.of("training.deterministic", what, "false") from error
        raise


def _out_of_memory(name: str, clips: int, lower: Sequence[str], which: str) -> InputError:
    return InputError.of(name, f"{which} is too small for {clips} clips at once", " or ".join(lower))
