"""A classifier as it trains: one update per batch, and how well it does on clips held out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import attrs
import torch
import torch.nn.functional as F
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapperDict
from mmengine.runner import Runner
from torch import Tensor, nn

from components.classifiers import Classifier
from datasets import VideoDataset
from framework.classifier import ClassifierTraining
from framework.classifier_data import label_of, middle
from framework.pixel_values import videos_of
from framework.reduced import reduced
from framework.together import on_first
from framework.update import NetworkOptimizer

NAME = "classifier"
"""Of what trains: of its folder in the run and of its lines of progress."""


@attrs.frozen
class Named:
    """What stands in a stage's place where a training is spoken of."""

    name: str


class ClassifierModel(nn.Module):
    """A network that learns to tell classes (cross-entropy).

    Args:
        network: trained here.
    """

    stage = Named(NAME)
    remedy = "a lower learning rate (training.lr) in another --work-dir or with --restart"
    """Against numbers that are not finite any more."""

    def __init__(self, network: Classifier) -> None:
        super().__init__()
        self.network = network
        # In a tuple: a module in an attribute of its own would be part of this one, and of its state.
        self._wrapped: tuple[nn.Module] = (network,)

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.network.parameters()).device

    def reduce_gradients(self) -> None:
        """From now on gradients are means over all ranks. The network must be on its device."""
        self._wrapped = (reduced(self.network),)

    def train_step(self, data: Sequence[Mapping[str, Any]], optim_wrapper: OptimWrapperDict) -> dict[str, Tensor]:
        """One update.

        Returns:
            Scalars by name: the loss, the share of the batch that was told rightly, the norm of the gradients.

        Raises:
            NotFiniteError: the loss or a gradient is not finite.
        """
        (batch,) = data
        optimizer: NetworkOptimizer = optim_wrapper["network"]
        labels = batch["label"].to(self.device, non_blocking=True)
        with optimizer.autocast():
            _, logits = self._wrapped[0](videos_of(batch["frames"], self.device))
        loss = F.cross_entropy(logits.float(), labels)
        optimizer.backward(loss)
        norm = optimizer.finish([loss.detach()])
        accuracy = (logits.detach().argmax(1) == labels).float().mean()
        log = {"loss": loss.detach(), "accuracy": accuracy}
        return log if norm is None else {**log, "grad_norm": norm}

    @torch.no_grad()
    def told(
        self,
        dataset: VideoDataset,
        clips: Iterable[int],
        frames: int,
        batch_size: int,
        before: Callable[[], object] = lambda: None,
    ) -> Tensor:
        """For each class, how many of the ``clips`` are told rightly, and how many there are: int64 ``(classes, 2)``.

        It is the middle of each clip that is looked at. Nothing of the training changes.

        Args:
            dataset: that the clips are of.
            clips: their indices.
            frames: of each that are looked at.
            batch_size: clips at once.
            before: called before each batch.
        """
        counts = torch.zeros(self.network.classes, 2, dtype=torch.int64)
        clips, training = list(clips), self.training
        self.eval()
        for start in range(0, len(clips), batch_size):
            before()
            part = clips[start : start + batch_size]
            stack = torch.stack([middle(dataset, clip, frames) for clip in part])
            guesses = self.network(videos_of(stack, self.device))[1].argmax(1).cpu()
            labels = torch.tensor([label_of(dataset, clip) for clip in part])
            right = torch.stack([(guesses == labels).long(), torch.ones_like(labels)], 1)
            counts.index_add_(0, labels, right)
        self.train(training)
        return counts


def accuracy_of(counts: Tensor) -> float:
    """The share that was told rightly, over all classes, of what :meth:`ClassifierModel.told` counts."""
    right, there = counts.sum(0).tolist()
    return float(right) / float(there)


def make_optimizer(model: ClassifierModel, training: ClassifierTraining) -> OptimWrapperDict:
    """AdamW, as one of the optimizers that a runner takes."""
    adam = torch.optim.AdamW(model.network.parameters(), lr=training.lr, weight_decay=training.weight_decay)
    return OptimWrapperDict(network=NetworkOptimizer(adam, NAME, training.precision))


def set_rate(optimizers: OptimWrapperDict, training: ClassifierTraining, iteration: int) -> None:
    """The learning rate of an iteration: it follows from its number alone."""
    rate = training.lr * (1 + math.cos(math.pi * iteration / training.iterations)) / 2
    for group in optimizers["network"].param_groups:
        group["lr"] = rate


class HeldOutHook(Hook):  # type: ignore[misc]  # MMEngine is untyped
    """The accuracy on clips held out, every ``every`` iterations and at the end, added to the metrics.

    Rank 0 looks, while the others wait.

    Args:
        every: iterations between two.
        accuracy: of the network as it is.
    """

    priority = "HIGH"
    """Before the metrics are written."""

    def __init__(self, every: int, accuracy: Callable[[], float]) -> None:
        self._every, self._accuracy = every, accuracy

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict[str, Tensor] | None = None
    ) -> None:
        """Look when it is time."""
        iteration = batch_idx + 1
        if outputs is not None and (iteration % self._every == 0 or iteration == runner.max_iters):
            outputs["held_out_accuracy"] = torch.tensor(on_first(self._accuracy))
