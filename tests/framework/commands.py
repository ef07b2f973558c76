"""``tools/train.py`` as its user starts it, with a fault built in: real processes, forked from one that knows torch.

Two of them meet as under ``torchrun``, at a store that this process keeps. A fault is a module's own function,
called in each process before the command.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import runpy
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from ranks import PATIENCE, PRELOAD, Rank
from torch import distributed

from components import ranks
from framework import check, dump
from framework.adversarial_stage import AdversarialStage
from framework.run_folder import RunFolder

TOOLS = Path(__file__).parents[2] / "tools"
FOLDER = "COMMANDS_FOLDER"


def at_step(number: int, act: Callable[[AdversarialStage], Any], *, rank: int | None = None) -> None:
    """Let ``act`` happen when this process, if it is ``rank``, begins its ``number``-th iteration, counted from 1."""
    original, calls = AdversarialStage.train_step, []

    def acting(model: AdversarialStage, *args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        if len(calls) == number and rank in (None, ranks.rank()):
            act(model)
        return original(model, *args, **kwargs)

    AdversarialStage.train_step = acting


def mark(name: str) -> None:
    """Let the test know that this process came by; see :meth:`ranks.Rank.reached`."""
    Path(os.environ[FOLDER], f"{name}.{ranks.rank()}").touch()


def await_go() -> None:
    """Wait until the test has called :func:`go`."""
    deadline = time.monotonic() + PATIENCE
    while not Path(os.environ[FOLDER], "go").exists():
        assert time.monotonic() < deadline, "the test has ended"
        time.sleep(0.005)


def go(folder: Path) -> None:
    """Let processes that wait go on."""
    (folder / "go").touch()


@contextlib.contextmanager
def training(
    experiment: Any,
    run: Path,
    scratch: Path,
    fault: Callable[..., Any] | None = None,
    *arguments: Any,
    world: int = 1,
    stage: str | None = "base",
    options: Sequence[str] = (),
) -> Iterator[list[Rank]]:
    """The processes of ``tools/train.py`` for ``experiment`` in ``run``, of its ``stage`` alone or of all.

    What is left of them in the end is killed.
    """
    if scratch.exists():
        shutil.rmtree(scratch)
    scratch.mkdir(parents=True)
    (scratch / "spec.json").write_text(dump(experiment))
    command = [str(TOOLS / "train.py"), str(scratch / "spec.json"), "--work-dir", str(run), *options]
    command += [] if stage is None else ["--stage", stage]
    environ = {FOLDER: str(scratch)}
    store = None
    if world > 1:
        command += ["--launcher", "pytorch"]
        store = distributed.TCPStore("127.0.0.1", 0, None, True, timedelta(seconds=PATIENCE), wait_for_workers=False)
        environ |= {"WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port)}
        environ["TORCHELASTIC_USE_AGENT_STORE"] = "True"
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
    processes = []
    for number in range(world):
        own = environ | ({"RANK": str(number), "LOCAL_RANK": str(number)} if world > 1 else {})
        process = context.Process(target=_run, args=(number, scratch, own, command, fault, arguments))
        process.start()
        processes.append(Rank(number, scratch, process))
    try:
        yield processes
    finally:
        for each in processes:
            if each.process.is_alive():
                each.process.kill()
            each.process.join()
        del store


def ended(*arguments: Any, **options: Any) -> list[Rank]:
    """The processes of :func:`training`, once all have ended."""
    with training(*arguments, **options) as processes:
        for each in processes:
            each.wait()
    return processes


def finished(*arguments: Any, **options: Any) -> RunFolder:
    """The run of :func:`training`, which must end well; the run."""
    for each in ended(*arguments, **options):
        assert each.wait() == 0, each.err
    return RunFolder(arguments[1])


def errors(process: Rank) -> list[str]:
    """The lines that a process wrote to stderr, but for progress and metrics."""
    lines = process.err.replace("\r", "\n").splitlines()
    return [line for line in lines if line.strip() and "clips/s" not in line and "it/s" not in line]


def _run(
    number: int, scratch: Path, environ: dict[str, str], command: list[str], fault: Any, arguments: tuple[Any, ...]
) -> None:
    for name, descriptor in (("out", 1), ("err", 2)):
        with (scratch / f"{name}.{number}").open("wb") as file:
            os.dup2(file.fileno(), descriptor)
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(each, signal.default_int_handler if each == signal.SIGINT else signal.SIG_DFL)
    os.environ.update(environ)
    multiprocessing.set_start_method("fork", force=True)  # as a command's own processes have it
    torch.set_num_threads(1)
    sys.path.insert(0, str(TOOLS))
    sys.argv = command
    # The spec is sound, and its networks take longer to be checked on the meta device than to be trained.
    check.check_networks = lambda *_: None
    if fault is not None:
        fault(*arguments)
    runpy.run_path(command[0], run_name="__main__")
