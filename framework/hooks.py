"""What happens beside the training steps: progress, metrics, checkpoints, sample pictures."""

from __future__ import annotations

import gc
import json
import resource
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor

from components import ranks
from framework.checkpoint import Checkpoints, first_not_finite, naming
from framework.pictures import contact_sheet, save_film, save_picture, side_by_side
from framework.runner import diverged
from framework.together import mean_over_ranks, on_first
from registry.progress import Progress


class ProgressHook(Hook):  # type: ignore[misc]  # MMEngine is untyped
    """A progress bar over the stage's iterations, with rate, time left and the latest metrics.

    Where stderr is no terminal, the metrics come as a line of their own instead, each time they are written.
    """

    def __init__(self, stage: str, first: int, iterations: int) -> None:
        self._stage, self._iterations = stage, iterations
        self._bar = Progress(total=iterations, initial=first, desc=f"train {stage}", unit="it")

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Mapping[str, Tensor] | None = None
    ) -> None:
        """Advance by one."""
        self._bar.update()

    def show(self, iteration: int, metrics: Mapping[str, float]) -> None:
        """Tell the metrics of the latest iterations."""
        if self._bar.on_terminal:
            self._bar.set_postfix_str(summary(metrics), refresh=False)
        else:
            left = self._bar.format_interval(self._bar.seconds_left(iteration))
            self._bar.note(f"{self._stage} {iteration}/{self._iterations}: {summary(metrics)}, {left} left")

    def close(self) -> None:
        """Leave the bar as it is."""
        self._bar.close()


def summary(metrics: Mapping[str, float]) -> str:
    """Metrics for a person: losses, each discriminator's scores of real and generated videos, rates, memory."""
    losses = [f"{name} {metrics[name]:.3f}" for name in ("loss_D", "loss_G", "loss") if name in metrics]
    scores = [
        f"{name.removesuffix('/real')} {metrics[name]:+.2f}/{metrics[name.removesuffix('real') + 'fake']:+.2f}"
        for name in metrics
        if name.endswith("/real")
    ]
    shares = ("accuracy", "held_out_accuracy")
    told = [f"{name.replace('_', ' ')} {metrics[name]:.1%}" for name in shares if name in metrics]
    rates = [f"lr {metrics['lr_generator']:g}/{metrics['lr_discriminator']:g}"] if "lr_generator" in metrics else []
    skipped = [f"skipped {metrics['skipped']:.2f}"] if metrics.get("skipped") else []
    return ", ".join(
        [
            *losses,
            *scores,
            *told,
            *skipped,
            *rates,
            f"{metrics['clips_per_second']:.1f} clips/s",
            f"{metrics['memory_mb']:.0f} MB",
        ]
    )


class MetricsHook(Hook):  # type: ignore[misc]  # MMEngine is untyped
    """Means over every ``every`` iterations and over all ranks, to ``metrics.jsonl`` and to the visualizer.

    Args:
        path: of ``metrics.jsonl``, to which lines are added.
        every: iterations between two lines.
        clips: clips in one iteration, for the rate.
        show: is told every line's iteration and values.
        begun: the :meth:`state` where training is taken up, so that no mean misses what came before a stop.
    """

    priority = "ABOVE_NORMAL"

    def __init__(
        self,
        path: Path,
        every: int,
        clips: int,
        show: Callable[[int, Mapping[str, float]], None],
        begun: Mapping[str, Any] | None = None,
    ) -> None:
        self._path, self._every, self._clips, self._show = path, every, clips, show
        self._sums: dict[str, Tensor] = {} if begun is None else dict(begun["sums"])
        self._counts: dict[str, int] = {} if begun is None else dict(begun["counts"])
        self.latest: dict[str, float] = {} if begun is None else dict(begun["latest"])
        """Values of the latest line, less those that tell of the machine."""
        self._measured: dict[str, float] = {}
        self._timed = 0
        self._since = time.perf_counter()

    def measured(self, values: Mapping[str, float]) -> None:
        """Have ``values``, which are measured now and then, in the next line."""
        self._measured |= values

    def state(self) -> dict[str, Any]:
        """What is added up for the next line, over all ranks: tensors and plain values. All ranks ask together."""
        self._sums = mean_over_ranks(self._sums)
        return {"sums": dict(self._sums), "counts": dict(self._counts), "latest": dict(self.latest)}

    def _add(self, values: Mapping[str, Tensor]) -> None:
        """In few operations, none of which waits for the device."""
        known = [name for name in values if name in self._sums]
        if known:
            sums = torch._foreach_add([self._sums[name] for name in known], [values[name] for name in known])
            self._sums |= dict(zip(known, sums, strict=True))
        for name, value in values.items():
            self._sums.setdefault(name, value)
            self._counts[name] = self._counts.get(name, 0) + 1

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Mapping[str, Tensor] | None = None
    ) -> None:
        """Add up; write a line when it is time.

        Raises:
            InputError: a mean is not finite.
        """
        self._add(outputs or {})
        self._timed += 1
        iteration = batch_idx + 1
        if iteration % self._every and iteration != runner.max_iters:
            return
        now = time.perf_counter()
        means = {name: float(total) / self._counts[name] for name, total in mean_over_ranks(self._sums).items()}
        _refuse_divergence(runner, iteration, means)
        for name, wrapper in runner.optim_wrapper.items():
            means[f"lr_{name}"] = wrapper.get_lr()["lr"][0]
        means |= self._measured
        self.latest = dict(means)
        means["clips_per_second"] = self._clips * self._timed / (now - self._since)
        means["memory_mb"] = peak_memory()
        if ranks.rank() == 0:
            with naming(self._path), self._path.open("a") as file:
                file.write(json.dumps({"iteration": iteration, **means}, allow_nan=False) + "\n")
            runner.visualizer.add_scalars(means, step=iteration)
            self._show(iteration, means)
        self._sums, self._counts, self._measured, self._timed, self._since = {}, {}, {}, 0, now


class StageCheckpointHook(Hook):  # type: ignore[misc]  # MMEngine is untyped
    """A checkpoint every ``every`` iterations and at the end, of what ``state`` returns; rank 0 writes it.

    It comes after the metrics, which refuse their sums up to the latest line; the sums since then are in
    the state. An update can spoil the weights although the losses before it were finite: all is looked at.

    Args:
        store: where checkpoints go.
        every: iterations between two.
        state: of the training after an iteration; all ranks ask for it together.
        latest: values of the latest line of metrics, by which the best is told.
    """

    priority = "LOW"

    def __init__(
        self,
        store: Checkpoints,
        every: int,
        state: Callable[[int], dict[str, Any]],
        latest: Callable[[], Mapping[str, float]],
    ) -> None:
        self._store, self._every, self._state, self._latest = store, every, state, latest

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Mapping[str, Tensor] | None = None
    ) -> None:
        """Save when it is time, or when this is the last iteration for now.

        Raises:
            InputError: anything in the state is not finite.
        """
        iteration = batch_idx + 1
        self._store.refuse_unknown(self._latest())
        if iteration % self._every and iteration != runner.max_iters and not runner.train_loop.stopping:
            return
        state = self._state(iteration)

        def save() -> None:
            _refuse_divergence(runner, iteration, state)
            self._store.save(iteration, state, self._latest())

        on_first(save)


class EvaluateHook(Hook):  # type: ignore[misc]  # MMEngine is untyped
    """Metrics of generated videos, every ``every`` iterations and at the end, into the line of metrics that follows.

    Rank 0 measures, while the others wait.

    Args:
        measure: gives the values, without touching the training.
        every: iterations between two; None measures nothing.
        tell: is told the values.
    """

    priority = "HIGH"

    def __init__(
        self, measure: Callable[[], dict[str, float]], every: int | None, tell: Callable[[Mapping[str, float]], None]
    ) -> None:
        self._measure, self._every, self._tell = measure, every, tell

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Mapping[str, Tensor] | None = None
    ) -> None:
        """Measure when it is time."""
        iteration = batch_idx + 1
        if self._every is not None and (iteration % self._every == 0 or iteration == runner.max_iters):
            self._tell(on_first(self._measure))


class SampleHook(Hook):  # type: ignore[misc]  # MMEngine is untyped
    """What the cascade generates so far, as a picture and a film, every ``every`` iterations and at the end.

    Rank 0 does it, while the others wait.

    Args:
        folder: of the pictures and films.
        every: iterations between two.
        draw: makes every stage's videos ``(B, T, C, H, W)`` by name, without touching the training.
    """

    def __init__(self, folder: Path, every: int, draw: Callable[[], Mapping[str, Tensor]]) -> None:
        self._folder, self._every, self._draw = folder, every, draw

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Mapping[str, Tensor] | None = None
    ) -> None:
        """Draw when it is time."""
        iteration = batch_idx + 1
        if iteration % self._every == 0 or iteration == runner.max_iters:
            on_first(partial(self._make, runner, iteration))

    def _make(self, runner: Runner, iteration: int) -> None:
        videos = self._draw()
        picture = contact_sheet(videos)
        save_picture(self._folder / f"iter_{iteration:08d}.png", picture)
        save_film(self._folder / f"iter_{iteration:08d}.mp4", side_by_side(videos))
        runner.visualizer.add_image("samples", picture, step=iteration)


def release_memory() -> None:
    """Free what an earlier stage's networks and optimizers still hold; :func:`peak_memory` begins anew on a GPU.

    A runner and its hooks refer to each other, so that Python frees them, and with them a GPU's memory, only when its
    collector happens to run; a GPU that is full does not ask it to.
    """
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def peak_memory() -> float:
    """The most memory in use so far, in MB (10^6 bytes).

    Of tensors on the GPU if there is one, since :func:`release_memory`; else of this process.
    """
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def _refuse_divergence(runner: Runner, iteration: int, values: Mapping[str, Any]) -> None:
    if (name := first_not_finite(values)) is not None:
        raise diverged(runner.model, iteration, f"{name} is not finite")
