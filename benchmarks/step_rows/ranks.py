"""From one rank to two at equal per-rank batch, on CPUs, one thread each."""

from __future__ import annotations

import multiprocessing
import os
import socket
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection

import torch
from torch import distributed

from clip_store_rows.measuring import quartiles
from step_rows.building import build
from step_rows.line import Bar, Line, Settings, duration
from step_rows.places import load, named

SPEC, STAGE, DIVIDE, BATCH = "quickstart", "full", 1, 16


def ranks(settings: Settings) -> Iterator[Line]:
    """One rank's step over the step of two; and, as what the machine allows, over that of two that share nothing."""
    batch = 2 if settings.quick else BATCH
    context = multiprocessing.get_context("spawn")
    port = free_port()
    ends, processes = [], []
    for rank, world in ((0, 1), (0, 1), (0, 2), (1, 2)):
        near, far = context.Pipe()
        process = context.Process(target=_serve, args=(far, rank, world, port, batch), daemon=True)
        process.start()
        ends.append(near)
        processes.append(process)
    try:
        for end in ends:
            end.recv()
        alone, apart, together = [], [], []
        for _ in range(max(3, settings.runs)):
            alone.append(_turn(ends[:1]))
            apart.append(_turn(ends[:2]))
            together.append(_turn(ends[2:]))
    finally:
        for end in ends:
            end.send("end")
        for process in processes:
            process.join(10)
    low, middle, high = quartiles([one / two for one, two in zip(alone, together, strict=True)])
    ceiling = quartiles([one / two for one, two in zip(alone, apart, strict=True)])[1]
    yield Line(
        work=f"{named(SPEC, STAGE, DIVIDE)}, batch {batch} a rank: a step of 1 rank over one of 2, gloo",
        value=middle,
        spread=(low, high),
        bar=Bar(0.85, unit=""),
        unit="",
        detail=f"{duration(quartiles(alone)[1])}, {duration(quartiles(together)[1])}; "
        f"2 processes that share nothing: {ceiling:.2f}",
    )


def _turn(ends: list[Connection]) -> float:
    """Seconds until all of some processes have made a step."""
    started = time.perf_counter()
    for end in ends:
        end.send("step")
    for end in ends:
        end.recv()
    return time.perf_counter() - started


def _serve(end: Connection, rank: int, world: int, port: int, batch: int) -> None:
    """A process that makes a step whenever it is told to."""
    torch.set_num_threads(1)
    if world > 1:
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
        distributed.init_process_group("gloo", rank=rank, world_size=world)
    experiment = load(SPEC, DIVIDE)
    step = build(experiment, STAGE, experiment.training_of(experiment.graph[STAGE]), batch, torch.device("cpu"))
    step()
    end.send("ready")
    while end.recv() == "step":
        step()
        end.send("done")
    if world > 1:
        distributed.destroy_process_group()


def free_port() -> int:
    """A port of this machine that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
