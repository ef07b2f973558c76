"""Random numbers that are a function of where a run stands, so that no generator state is ever saved."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def derive(seed: int, *place: int | str) -> int:
    """A 63-bit seed for one ``place`` (stage, iteration, ...) of a run seeded with ``seed``."""
    words = [seed, *(_number(part) for part in place)]
    high, low = np.random.SeedSequence(words).generate_state(2, np.uint32)
    return (int(high) << 31) ^ int(low)


def reseed(seed: int, *place: int | str) -> None:
    """Start torch's generators, on every device, at this place of the run."""
    number = derive(seed, *place)
    # Not torch.manual_seed: where there is no GPU it writes down the call stack for each kind of device there might be.
    torch.default_generator.manual_seed(number)
    if torch.cuda.is_available():
        torch.cuda.manual_seed_all(number)


def generator_at(seed: int, *place: int | str) -> torch.Generator:
    """A CPU generator that starts at this place of the run."""
    return torch.Generator().manual_seed(derive(seed, *place))


def prepare_deterministic() -> None:
    """What cuBLAS needs for deterministic kernels; it looks once, when a process first multiplies on a GPU."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


@contextmanager
def deterministic(wanted: bool) -> Iterator[None]:
    """Where ``wanted``, torch computes with deterministic kernels only, and says so where it has none."""
    if not wanted:
        yield
        return
    prepare_deterministic()
    before, benchmark = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
        torch.backends.cudnn.benchmark = benchmark


def _number(part: int | str) -> int:
    if isinstance(part, int):
        return part
    return int.from_bytes(hashlib.sha256(part.encode()).digest()[:8], "little")
