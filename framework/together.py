"""What the processes that train together ("ranks") do and decide as one.

Small things (flags, errors, means, what rank 0 found out) travel over a group of their own, always of gloo: it
works without a GPU, leaves the device alone, and its patience is long, since the others may wait for rank 0 to
write. All functions must be called by all ranks in the same order. Where there is one rank, and inside
:func:`components.ranks.alone`, they are plain calls.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from itertools import groupby
from typing import TypeVar, cast

import attrs
import torch
from torch import Tensor, distributed

from components.ranks import alone, rank, world
from registry import InputError, Problem
from registry.cli import FAILED
from registry.errors import AgreedError, Stopped, one_line, system_problem

T = TypeVar("T")

PATIENCE = timedelta(days=30)
"""How long a rank waits for the others; one that is lost is found by other means (:mod:`framework.watch`)."""
TOLD = "the other ranks were told of it"
"""Note on an error that is one rank's own and has been told to the others."""

_control: distributed.ProcessGroup | None = None


def start_control() -> None:
    """Make the control group, after ``init_process_group``; nothing to do where there is one rank."""
    global _control
    if world() > 1 and _control is None:
        # All ranks are in it, which its type does not say.
        _control = cast("distributed.ProcessGroup", distributed.new_group(backend="gloo", timeout=PATIENCE))


def end_control() -> None:
    """Forget the control group, before ``destroy_process_group``."""
    global _control
    _control = None


def control() -> distributed.ProcessGroup:
    """The control group.

    Raises:
        RuntimeError: :func:`start_control` was not called.
    """
    if _control is None:
        raise RuntimeError("several ranks, and start_control() was not called")
    return _control


def together(action: Callable[[], T]) -> T:
    """What ``action`` returns, once it has come off in all ranks; all of them run it.

    Raises:
        AgreedError: in all ranks, when any raised an ``InputError`` or an ``OSError``: the problems of all, each
            once, those of some ranks with their numbers.
        Stopped: in all ranks, when any raised it. Also when another rank raised something else; that rank raises its
            own error.
    """
    if world() == 1:
        return action()
    result, error = _attempt(action)
    if any_rank([error is not None])[0]:
        everyone = _everyones(_Said.of(error))
        _end_on(error, everyone)
        raise AgreedError(_merged([said.problems for said in everyone])) from error
    return cast(T, result)


def on_first(action: Callable[[], T]) -> T:
    """What ``action`` returns in rank 0, which alone runs it while the others wait, for as long as it takes.

    Args:
        action: runs in :func:`components.ranks.alone`; its result is pickled.

    Raises:
        AgreedError: in all ranks, when it raised an ``InputError`` or an ``OSError``.
        Stopped: in all ranks, when it raised that; in the others, when it raised something else.
    """
    if world() == 1:
        return action()
    first = rank() == 0
    result: T | None = None
    error: Exception | None = None
    news: list[tuple[_Said, bytes]] = []
    if first:
        with alone():
            result, error = _attempt(action)
            packed, unpackable = _attempt(lambda: pickle.dumps(result))
        news.append((_Said.of(error or unpackable), packed or b""))
        error = error or unpackable
    else:
        news.append((_Said(), b""))
    distributed.broadcast_object_list(news, src=0, group=control())
    said, packed = news[0]
    _end_on(error, [said])
    if said.problems:
        raise AgreedError(said.problems) from error
    return cast(T, result) if first else cast(T, pickle.loads(packed))  # noqa: S301  # rank 0's own


def any_rank(flags: Sequence[bool]) -> list[bool]:
    """For each flag, whether it is set in any rank."""
    if world() == 1:
        return list(flags)
    counts = torch.tensor(flags, dtype=torch.int32)
    distributed.all_reduce(counts, distributed.ReduceOp.MAX, group=control())
    return [bool(count) for count in counts.tolist()]


def mean_over_ranks(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The mean over the ranks of each of some numbers ``()``, all ranks having the same names.

    Returns:
        float64 numbers on the CPU, summed in the order of the ranks, the same in all of them; with one rank,
        ``values`` as they are.
    """
    if world() == 1 or not values:
        return dict(values)
    own = torch.stack([value.detach().double().cpu() for value in values.values()])
    everyones = [torch.empty_like(own) for _ in range(world())]
    distributed.all_gather(everyones, own, group=control())
    total = torch.zeros_like(own)
    for each in everyones:
        total += each
    return dict(zip(values, total / world(), strict=True))


def sum_over_ranks(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of the CPU by name, added up over the ranks in their order; a rank need not have all names.

    One rank's after another's: those of all at once would not fit into memory where there are many ranks on a machine.
    """
    if world() == 1:
        return dict(values)
    total: dict[str, Tensor] = {}
    for source in range(world()):
        one = [dict(values) if source == rank() else {}]
        distributed.broadcast_object_list(one, src=source, group=control())
        for name, value in one[0].items():
            total[name] = total[name] + value if name in total else value
    return total


@attrs.frozen
class _Said:
    """What a rank tells the others of an error."""

    problems: tuple[Problem, ...] = ()
    """What the user can put right."""
    stop: tuple[int, str] | None = None
    """Exit code and line of a stop."""
    failure: str = ""
    """One line on anything else."""

    @classmethod
    def of(cls, error: Exception | None) -> _Said:
        if error is None:
            return cls()
        if isinstance(error, InputError):
            return cls(problems=error.problems)
        if isinstance(error, Stopped):
            return cls(stop=(error.code, error.line))
        # A broken pipe is no fault of the user's: whoever reads rank 0's output has seen enough.
        if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
            return cls(problems=(system_problem(error),))
        return cls(failure=one_line(error))


def _attempt(action: Callable[[], T]) -> tuple[T | None, Exception | None]:
    try:
        return action(), None
    except Exception as error:  # noqa: BLE001  # the others wait to be told; it is raised again after that
        return None, error


def _everyones(said: _Said) -> list[_Said]:
    everyone: list[_Said] = [said] * world()
    distributed.all_gather_object(everyone, said, group=control())
    return everyone


def _end_on(own: Exception | None, everyone: Sequence[_Said]) -> None:
    """End on a failure, this rank's ``own`` if it has one, or on a stop; problems of the user's are left to others."""
    if own is not None and _Said.of(own).failure:
        own.add_note(TOLD)
        raise own
    for number, said in enumerate(everyone):
        if said.failure:
            raise Stopped(FAILED, f"error: rank {number} failed: {said.failure}") from own
    for said in everyone:
        if said.stop:
            raise Stopped(*said.stop) from own


def _merged(by_rank: Sequence[Sequence[Problem]]) -> list[Problem]:
    """All problems, each once; those that not all ranks have say whose they are."""
    having: dict[Problem, list[int]] = {}
    for number, problems in enumerate(by_rank):
        for problem in dict.fromkeys(problems):
            having.setdefault(problem, []).append(number)
    return [
        problem if len(ranks) == len(by_rank) else attrs.evolve(problem, who=problem.who or which(ranks))
        for problem, ranks in having.items()
    ]


def which(ranks: Sequence[int]) -> str:
    """``rank 3``, or ``ranks 0-2, 5``: the ascending numbers in few words."""
    runs = [[number for _, number in group] for _, group in groupby(enumerate(ranks), lambda pair: pair[1] - pair[0])]
    text = ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
    return f"rank{'s' * (len(ranks) > 1)} {text}"
