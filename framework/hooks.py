"""What happens beside the training steps: progress, metrics, checkpoints, sample pictures."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor

from framework.checkpoint import first_not_finite, naming, save_checkpoint, write_whole
from framework.pictures import save_picture
from registry import InputError
from registry.progress import Progress


class ProgressHook(Hook):  # type: ignore[misc]  # MMEngine is untyped
    """A progress bar over the stage's iterations, with rate, time left and the latest losses."""

    def __init__(self, stage: str, first: int, iterations: int) -> None:
        self._bar = Progress(total=iterations, initial=first, desc=f"train {stage}", unit="it")

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Mapping[str, Tensor] | None = None
    ) -> None:
        """Advance by one."""
        self._bar.update()
        if outputs and batch_idx % 10 == 0:
            losses = {name: f"{float(value):.2f}" for name, value in outputs.items() if name.startswith("loss")}
            self._bar.set_postfix(losses, refresh=False)

    def after_run(self, runner: Runner) -> None:
        """Leave the finished bar."""
        self._bar.close()


class MetricsHook(Hook):  # type: ignore[misc]  # MMEngine is untyped
    """Means over every ``every`` iterations, to ``metrics.jsonl`` and to the visualizer.

    Args:
        path: of ``metrics.jsonl``; lines after iteration ``first``, which an interrupted run left and
            this one makes again, are removed.
        every: iterations between two lines.
        first: the iteration that training takes up.
        clips: clips in one iteration, for the rate.
        begun: the :meth:`state` at iteration ``first``, so that no mean misses what came before a stop.
    """

    def __init__(self, path: Path, every: int, first: int, clips: int, begun: Mapping[str, Any] | None = None) -> None:
        self._path, self._every, self._clips = path, every, clips
        self._sums: dict[str, Tensor] = {} if begun is None else dict(begun["sums"])
        self._count: int = 0 if begun is None else begun["count"]
        self._timed = 0
        self._since = time.perf_counter()
        if path.is_file():
            lines = path.read_text().splitlines(keepends=True)
            write_whole(path, "".join(line for line in lines if _iteration(line) <= first))

    def state(self) -> dict[str, Any]:
        """What is added up for the next line: tensors and plain values."""
        return {"sums": dict(self._sums), "count": self._count}

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Mapping[str, Tensor] | None = None
    ) -> None:
        """Add up; write a line when it is time.

        Raises:
            InputError: a mean is not finite.
        """
        for name, value in (outputs or {}).items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value
        self._count += 1
        self._timed += 1
        iteration = batch_idx + 1
        if iteration % self._every and iteration != runner.max_iters:
            return
        now = time.perf_counter()
        means = {name: float(total) / self._count for name, total in self._sums.items()}
        _refuse_divergence(runner, iteration, means)
        means["clips_per_second"] = self._clips * self._timed / (now - self._since)
        for name, wrapper in runner.optim_wrapper.items():
            means[f"lr_{name}"] = wrapper.get_lr()["lr"][0]
        with naming(self._path), self._path.open("a") as file:
            file.write(json.dumps({"iteration": iteration, **means}, allow_nan=False) + "\n")
        runner.visualizer.add_scalars(means, step=iteration)
        self._sums, self._count, self._timed, self._since = {}, 0, 0, now


class StageCheckpointHook(Hook):  # type: ignore[misc]  # MMEngine is untyped
    """A checkpoint every ``every`` iterations and at the end, of what ``state`` returns.

    It comes after the metrics, which refuse their sums up to the latest line; the sums since then are in
    the state. An update can spoil the weights although the losses before it were finite: all is looked at.
    """

    priority = "LOW"

    def __init__(self, folder: Path, every: int, state: Callable[[int], dict[str, Any]]) -> None:
        self._folder, self._every, self._state = folder, every, state

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Mapping[str, Tensor] | None = None
    ) -> None:
        """Save when it is time.

        Raises:
            InputError: anything in the state is not finite.
        """
        iteration = batch_idx + 1
        if iteration % self._every and iteration != runner.max_iters:
            return
        state = self._state(iteration)
        _refuse_divergence(runner, iteration, state)
        save_checkpoint(self._folder, iteration, state)


class SampleHook(Hook):  # type: ignore[misc]  # MMEngine is untyped
    """A picture of what the cascade generates so far, every ``every`` iterations and at the end.

    Args:
        folder: of the pictures.
        every: iterations between two.
        draw: makes the picture, uint8 ``(H, W, 3)``, without touching the training.
    """

    def __init__(self, folder: Path, every: int, draw: Callable[[], npt.NDArray[np.uint8]]) -> None:
        self._folder, self._every, self._draw = folder, every, draw

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Mapping[str, Tensor] | None = None
    ) -> None:
        """Draw when it is time."""
        iteration = batch_idx + 1
        if iteration % self._every and iteration != runner.max_iters:
            return
        picture = self._draw()
        save_picture(self._folder / f"iter_{iteration:08d}.png", picture)
        runner.visualizer.add_image("samples", picture, step=iteration)


def _refuse_divergence(runner: Runner, iteration: int, values: Mapping[str, Any]) -> None:
    if (name := first_not_finite(values)) is not None:
        raise InputError.of(
            runner.model.stage.name,
            f"training diverged by iteration {iteration}: {name} is not finite; earlier checkpoints stay",
            "lower learning rates (generator_lr, discriminator_lr), in another --work-dir or with --restart",
        )


def _iteration(line: str) -> int:
    """The iteration a line of ``metrics.jsonl`` is of; a line cut short counts as later than any."""
    try:
        return int(json.loads(line)["iteration"])
    except ValueError:
        return 2**62
