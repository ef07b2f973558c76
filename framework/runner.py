"""The MMEngine side of training one stage: its loop, its runner, its optimizers.

MMEngine drives hooks, devices, distribution and visualization. Three things are done otherwise than
its stock classes do them: the loop takes up a run at any iteration at once (its own would draw every
batch again), randomness follows from the position (its own is not restored), and checkpoints are
verified and weights-only (its own pickle their log buffers).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapperDict
from mmengine.runner import BaseLoop, Runner
from mmengine.visualization import TensorboardVisBackend, Visualizer
from torch import nn
from torch.utils.data import DataLoader

from framework.adversarial_stage import AdversarialStage
from framework.classifier_model import ClassifierModel
from framework.experiment import Training
from framework.update import NetworkOptimizer, NotFiniteError
from registry import InputError
from registry.errors import AgreedError

Trainable = AdversarialStage | ClassifierModel


class StageLoop(BaseLoop):  # type: ignore[misc]  # MMEngine is untyped
    """Iterations ``first <= i < iterations`` of one stage; each takes ``per_iteration`` batches.

    Args:
        runner: whose model trains.
        dataloader: begins with the batches of iteration ``first``.
        first: the first iteration to run.
        iterations: at which the stage is done.
        per_iteration: batches in one iteration.
        reseed: called with the iteration before each, to start the random numbers there.
        stop: called once in every iteration; when it says so, that iteration is the last one for now.
    """

    def __init__(
        self,
        runner: Runner,
        dataloader: DataLoader[dict[str, Any]],
        first: int,
        iterations: int,
        per_iteration: int,
        reseed: Callable[[int], None],
        stop: Callable[[], bool],
    ) -> None:
        super().__init__(runner, dataloader)
        self._iter = first
        self._max_iters = iterations
        self._per_iteration = per_iteration
        self._reseed = reseed
        self._stop = stop
        self.stopping = False
        """Whether the iteration at hand is the last one for now."""

    @property
    def iter(self) -> int:
        """Iterations done."""
        return self._iter

    @property
    def max_iters(self) -> int:
        """At which the stage is done."""
        return self._max_iters

    @property
    def epoch(self) -> int:
        """MMEngine asks for it; a stage is counted in iterations."""
        return 0

    @property
    def max_epochs(self) -> int:
        """MMEngine asks for it; a stage is counted in iterations."""
        return 1

    def run(self) -> nn.Module:
        """Train to the end, or until asked to stop.

        Raises:
            InputError: training diverged.
        """
        runner = self.runner
        runner.call_hook("before_train")
        runner.call_hook("before_train_epoch")
        runner.model.train()
        batches = iter(self.dataloader)
        while self._iter < self._max_iters and not self.stopping:
            data = [next(batches) for _ in range(self._per_iteration)]
            self._reseed(self._iter)
            runner.call_hook("before_train_iter", batch_idx=self._iter, data_batch=data)
            try:
                outputs = runner.model.train_step(data, optim_wrapper=runner.optim_wrapper)
            except NotFiniteError as error:
                raise diverged(runner.model, self._iter + 1, error.clause(), error.remedy) from error
            self.stopping = self._stop()
            runner.call_hook("after_train_iter", batch_idx=self._iter, data_batch=data, outputs=outputs)
            self._iter += 1
        runner.call_hook("after_train_epoch")
        runner.call_hook("after_train")
        return runner.model  # type: ignore[no-any-return]


def diverged(model: Trainable, iteration: int, what: str, remedy: str | None = None) -> InputError:
    """The error that ends a training whose numbers are not finite any more, in all ranks; ``what`` is a clause."""
    return AgreedError.of(
        model.stage.name,
        f"training diverged by iteration {iteration}: {what}; earlier checkpoints stay",
        remedy or model.remedy,
    )


class StageRunner(Runner):  # type: ignore[misc]  # MMEngine is untyped
    """An MMEngine runner less its reports at each start: ``environment.json`` and ``spec.json`` have them."""

    def _log_env(self, env_cfg: dict[str, Any]) -> None:
        return

    def dump_config(self) -> None:
        """Nothing: the spec is in the run folder."""

    def wrap_model(self, model_wrapper_cfg: Any, model: Trainable) -> Trainable:
        """The model as it is: it reduces its gradients itself."""
        return model


def make_optimizers(model: AdversarialStage, training: Training) -> OptimWrapperDict:
    """Adam for the generator and one Adam for all the discriminators (appendix A)."""
    rates = {"generator": training.generator_lr, "discriminator": training.discriminator_lr}
    networks = {"generator": model.generator, "discriminator": model.discriminators}
    return OptimWrapperDict(
        **{
            name: NetworkOptimizer(
                torch.optim.Adam(
                    networks[name].parameters(),
                    lr=rates[name],
                    betas=training.betas,
                    fused=training.fused_adam or None,  # by False torch takes one weight after another, on GPUs, too
                ),
                name,
                training.precision,
                training.max_grad_norm,
            )
            for name in networks
        }
    )


def make_runner(
    name: str,
    model: Trainable,
    optimizers: OptimWrapperDict,
    loader: DataLoader[dict[str, Any]],
    loop: dict[str, Any],
    hooks: Sequence[Hook],
    work_dir: Path,
    tensorboard: Path,
) -> StageRunner:
    """The runner of one stage, or of a classifier.

    Args:
        name: of the run and stage, unique in this process.
        model: what trains.
        optimizers: from :func:`make_optimizers`, by name.
        loader: the batches of what is left to do.
        loop: arguments of :class:`StageLoop` other than runner and loader.
        hooks: in place of MMEngine's for logging, timing and checkpoints.
        work_dir: MMEngine's own, for its log and for what hooks of the user's own write.
        tensorboard: folder of the TensorBoard events.
    """
    # MMEngine's runtime_info, too: it waits for the device at each iteration, and keeps every value ever logged.
    stock = dict.fromkeys(("runtime_info", "timer", "logger", "param_scheduler", "checkpoint", "sampler_seed"))
    return StageRunner(
        model=model,
        work_dir=str(work_dir),
        train_dataloader=loader,
        train_cfg={"type": StageLoop, **loop},
        optim_wrapper=optimizers,
        default_hooks=stock,
        custom_hooks=list(hooks),
        visualizer=Visualizer(name=name, vis_backends=[TensorboardVisBackend(str(tensorboard))]),
        experiment_name=name,
        log_level="WARNING",
        randomness={"seed": 0},
    )
