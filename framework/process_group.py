"""The process group of torch: made when all processes are there, ended without waiting for one that is not."""

from __future__ import annotations

import os
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import groupby

import attrs
import torch
from torch import distributed
from torch.distributed.distributed_c10d import Store
from torch.distributed.rendezvous import rendezvous

from framework.together import which
from registry import InputError
from registry.errors import AgreedError, Problem

RENDEZVOUS = 300.0
"""Seconds that processes wait for each other at the start, unless told otherwise."""
_LAST_WAIT = 30.0
"""Seconds that a process which ends with an error waits for its collectives."""


@attrs.frozen
class Place:
    """Where a process stands among those that train together, and where they meet."""

    rank: int
    """Its number, from 0."""
    world: int
    """How many they are."""
    local_rank: int
    """Its number on its machine, from 0."""
    address: str
    """Rank 0's machine."""
    port: int
    """Where rank 0 (or ``torchrun``) listens."""


@contextmanager
def process_group(place: Place, patience: float = RENDEZVOUS) -> Iterator[None]:
    """While entered, torch's default group holds all processes: of NCCL where there are GPUs, else of gloo.

    This process's GPU is the ``local_rank``-th of those that it sees, counted round: a launcher may show each
    process one of its own. When the block ends with an error, collectives that wait for other processes are waited
    for half a minute at most; the process should end then.

    Args:
        place: of this process.
        patience: seconds that the processes wait for each other.

    Raises:
        InputError: they have not met in time, the port is taken, or several have one GPU.
    """
    with _variables(place):
        _join(place, patience)
        try:
            yield
        except BaseException:
            _give_up()
            raise
        distributed.destroy_process_group()


@contextmanager
def _variables(place: Place) -> Iterator[None]:
    """The environment as ``torchrun`` would have made it; torch and MMEngine read it, loader workers inherit it."""
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
    before = {name: os.environ.get(name) for name in names}
    before["LOCAL_WORLD_SIZE"] = os.environ.get("LOCAL_WORLD_SIZE")  # set when the processes have met
    os.environ.update(zip(names, map(str, attrs.astuple(place)), strict=True))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _join(place: Place, patience: float) -> None:
    device = None
    if torch.cuda.is_available():
        device = torch.device("cuda", place.local_rank % torch.cuda.device_count())
        torch.cuda.set_device(device)
    try:
        # torch's own: it knows where torchrun listens in rank 0's stead.
        store, rank, world = next(rendezvous("env://", timeout=timedelta(seconds=patience)))
        if device is not None:
            _refuse_shared(store, rank, world, str(torch.cuda.get_device_properties(device).uuid))
        os.environ["LOCAL_WORLD_SIZE"] = str(_on_this_machine(store, rank, world))
        backend = "gloo" if device is None else "nccl"
        distributed.init_process_group(backend, store=store, rank=rank, world_size=world, device_id=device)
    except (distributed.DistStoreError, distributed.DistNetworkError) as error:
        raise _not_met(place, patience, str(error)) from error


def _not_met(place: Place, patience: float, said: str) -> InputError:
    where = f"{place.address}:{place.port}"
    if "EADDRINUSE" in said:
        what = f"something else listens at {where}, where rank 0 has to"
        return InputError.of("MASTER_PORT", what, "a free port, as MASTER_PORT=PORT for all processes")
    what = f"the {place.world} processes have not met at {where} within {patience:g} s"
    if came := re.search(r"([0-9]+)/[0-9]+ clients joined", said):
        what += f", where {came[1]} came"
    return InputError.of("--launcher", what, "all ranks started, MASTER_ADDR:MASTER_PORT within reach of each")


def _on_this_machine(store: Store, rank: int, world: int) -> int:
    """How many of the processes are: not every launcher says, and each ``torchrun`` of a machine counts its own."""
    own = socket.gethostname()
    store.set(f"machine/{rank}", own)
    return [store.get(f"machine/{each}").decode() for each in range(world)].count(own)


def _refuse_shared(store: Store, rank: int, world: int, gpu: str) -> None:
    """NCCL takes one process per GPU, and says otherwise in words that few would understand."""
    store.set(f"gpu/{rank}", f"{gpu} of {socket.gethostname()}")
    having = sorted((store.get(f"gpu/{each}").decode(), each) for each in range(world))
    shared = [
        (name, ranks)
        for name, each in groupby(having, lambda pair: pair[0])
        if len(ranks := [number for _, number in each]) > 1
    ]
    if shared:
        raise AgreedError(
            Problem("--launcher", f"{which(ranks)} have one GPU, {name}", "as many processes as GPUs")
            for name, ranks in shared
        )


def _give_up() -> None:
    """Take the group down in spite of collectives that may wait for other ranks, which end as well or never answer.

    Left as it is, with such a collective, it would abort the process as that exits.
    """
    if distributed.get_backend() == "nccl" and distributed.group.WORLD is not None:
        distributed.group.WORLD.abort()
    # gloo knows no way to abort: its collectives end when the connections do.
    ending = threading.Thread(target=distributed.destroy_process_group, daemon=True)
    ending.start()
    ending.join(_LAST_WAIT)
