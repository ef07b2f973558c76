"""A process group of one rank, of NCCL on a GPU: whether what ranks exchange can be, and what wrapping costs."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import distributed

from framework.process_group import Place, process_group

from clip_store_rows.measuring import check
from step_rows.building import build
from step_rows.line import Line, Settings, clear, in_turns, of_ratio
from step_rows.options import first_losses_apart
from step_rows.places import load, named
from step_rows.ranks import free_port

SPEC, STAGE, BATCH = "quickstart", "full", 8


def one_rank(settings: Settings) -> Iterator[Line]:
    """The step with gradients that go through the group, against the step without."""
    batch = 2 if settings.quick else BATCH
    experiment = load(SPEC)
    training = experiment.training_of(experiment.graph[STAGE])
    with process_group(Place(0, 1, 0, "127.0.0.1", free_port()), 60.0):
        exchange(settings.device)
        alone, grouped = (build(experiment, STAGE, training, batch, settings.device) for _ in range(2))
        grouped.model.reduce_gradients()
        apart = first_losses_apart(alone, grouped)
        ratio = in_turns(settings, grouped, alone)
        work = f"{named(SPEC, STAGE)}, batch {batch}: one rank over {distributed.get_backend()}"
        yield of_ratio(work, ratio, equal=f"{apart:.1e}")
        del alone, grouped
        clear(settings.device)


def exchange(device: torch.device) -> None:
    """The kinds of exchange that training on ranks makes, each of which must give back what one rank put in."""
    flags = torch.tensor([1, 0], dtype=torch.uint8, device=device)  # whether loss and gradients are finite
    distributed.all_reduce(flags, distributed.ReduceOp.MIN)
    moments = torch.arange(3.0, device=device)
    distributed.all_reduce(moments)
    check(
        flags.tolist() == [1, 0] and moments.tolist() == [0, 1, 2], "a reduction over one rank changed what it was of"
    )
    control = distributed.new_group(backend="gloo")  # beside the default group, on the CPU: framework/together.py
    said = [{"stop": False}]
    distributed.broadcast_object_list(said, src=0, group=control)
    check(said == [{"stop": False}], "a broadcast from one rank changed what it was of")
