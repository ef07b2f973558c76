"""Runs a function in several processes that share a batch, joined by gloo."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, multiprocessing

from components import ranks

WORLD = 2


def on_ranks(work: Callable[..., Any], folder: Path, *arguments: Any) -> list[Any]:
    """What ``work(*arguments)`` gives in each of two ranks; it must be a module's function, and give tensors."""
    multiprocessing.spawn(_rank, args=(work, str(folder), arguments), nprocs=WORLD)
    return [torch.load(folder / f"{rank}.pt") for rank in range(WORLD)]


def share(inputs: dict[str, Tensor | None]) -> dict[str, Tensor | None]:
    """Every world-th clip, from rank on."""
    part = slice(ranks.rank(), None, ranks.world())
    return {name: None if value is None else value[part] for name, value in inputs.items()}


def _rank(rank: int, work: Callable[..., Any], folder: str, arguments: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=WORLD)
    torch.save(work(*arguments), f"{folder}/{rank}.pt")
    distributed.destroy_process_group()
