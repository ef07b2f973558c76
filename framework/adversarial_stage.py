"""One stage of the cascade as it trains: real pairs from data, fake pairs through the frozen sources."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from mmengine.optim import OptimWrapperDict
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from components import ranks
from components.discriminators import Discriminator
from components.generators import Generator
from components.layers import PowerIterations, differentiate_twice, held_singular_vectors
from components.losses import AdversarialLoss
from components.views import View
from framework.average import WeightAverage
from framework.batch import Latents, Pair, Prefix, least_parts, slices, take
from framework.cascade import Cascade
from framework.graph import Stage
from framework.prefix import LivePrefix, PrefixSource
from framework.reduced import reduced
from framework.rules import Rules
from framework.stage_data import StageData
from framework.undo import Undo
from framework.update import NetworkOptimizer

Log = dict[str, Tensor]
"""Scalars by name."""


class Discriminators(nn.ModuleDict):
    """All discriminators of a stage as one network: the scores of each, by its name."""

    def forward(self, x: Tensor, y: Tensor | None, x_l: Tensor | None) -> dict[str, Tensor]:
        """Scores ``(B, K)`` by name; the arguments are those of :class:`~components.discriminators.Discriminator`."""
        return {name: discriminator(x, y, x_l) for name, discriminator in self.items()}


class AdversarialStage(nn.Module):
    """The min-max game of one stage: eq. 2 for the base stage, eq. 6 on windows for the others.

    Args:
        stage: its place in the graph.
        generator: trained here, as are ``discriminators``.
        discriminators: by name; all their scores enter one ``loss``.
        loss: both sides of the game.
        data: makes real videos of the loader's batches.
        view: leads from a window to its source's window; None in the base stage.
        sources: the frozen stages before this one; None in the base stage.
        rules: of its updates.
    """

    remedy = (
        "lower learning rates (generator_lr, discriminator_lr) in another --work-dir or with --restart, or "
        "training.on_divergence=skip"
    )
    """Against numbers that are not finite any more."""

    def __init__(
        self,
        stage: Stage,
        generator: Generator,
        discriminators: Mapping[str, Discriminator],
        loss: AdversarialLoss,
        data: StageData,
        view: View | None = None,
        sources: Cascade | None = None,
        rules: Rules | None = None,
    ) -> None:
        super().__init__()
        self.stage = stage
        self.generator = generator
        self.discriminators = Discriminators(discriminators)
        self.loss = loss
        self.view = view
        self.data = data
        self.sources = sources
        self.rules = rules or Rules()
        if self.rules.r1:
            differentiate_twice(self.discriminators)
        self.prefix: PrefixSource | None = (
            None if sources is None or view is None else LivePrefix(sources, data, view.time)
        )
        """Where x̂_l comes from."""
        self.average: WeightAverage | None = None
        """Of the generator's weights, kept up with every update where there is one. No module: not in the state."""
        self._undo = (Undo(self), Undo(self)) if self.rules.skip else None
        # In tuples: a module in an attribute of its own would be part of this one, and of its state.
        self._networks: tuple[nn.Module, nn.Module] = (self.generator, self.discriminators)
        self._iterations = (PowerIterations(self.generator), PowerIterations(self.discriminators))

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return next(self.generator.parameters()).device

    def reduce_gradients(self) -> None:
        """From now on gradients are means over all ranks. The networks must be on their device."""
        self._networks = (reduced(self.generator), reduced(self.discriminators))

    def train_step(self, data: Sequence[Mapping[str, Any]], optim_wrapper: OptimWrapperDict) -> Log:
        """One iteration: an update of the discriminators per batch of ``data``, then one of the generator.

        Returns:
            Scalars by name: the losses, each discriminator's mean score of real and generated videos, the norms
            of the gradients. An update that was left out adds nothing but to ``skipped``.

        Raises:
            NotFiniteError: a loss or a gradient is not finite, and ``rules`` do not say to skip it, or many in a row.
        """
        log: Log = {}
        prefix = None
        if self.rules.prefix == "iteration" and self.sources is not None:
            with optim_wrapper["generator"].autocast():
                prefix = self.draw_prefix(data[-1])
        for batch in data:
            log.update(self._update(1, partial(self.update_D, batch, optim_wrapper["discriminator"], prefix)))
        log.update(self._update(0, partial(self.update_G, data[-1], optim_wrapper["generator"], prefix)))
        if self._undo is not None:
            # Filled where the other scalars are: sums of all of them are then one operation, and nobody waits.
            log["skipped"] = torch.full((), float(sum(undo.taken() for undo in self._undo)), device=self.device)
        return log

    def update_D(self, batch: Mapping[str, Any], optimizer: NetworkOptimizer, prefix: Prefix | None = None) -> Log:
        """Teach the discriminators to tell the batch's real videos from fake ones.

        The fake ones are of the same classes, or have a ``prefix`` and are of its classes.
        """
        latents = self.draw(len(batch["label"]), prefix)
        logs: list[Log] = []
        for part in self._parts(len(batch["label"]), 1):
            with optimizer.autocast():
                real = self.real(take(batch, part))
                with torch.no_grad():
                    fake = self.fake(real.y if prefix is None else _cut(prefix.y, part), latents[part])
                of_real, of_fake = self.scores(real, fake)
                loss = self.loss.discriminator(list(of_real.values()), list(of_fake.values()))
                log = {"loss_D": loss.detach()}
                if self.rules.r1:
                    penalty = _r1(real.x, of_real)
                    loss = loss + self.rules.r1 * penalty
                    log["r1"] = penalty.detach()
            optimizer.backward(loss * self._share(part, batch))
            for name in of_real:
                log[f"{name}/real"] = of_real[name].detach().mean()
                log[f"{name}/fake"] = of_fake[name].detach().mean()
            logs.append(log)
        norm = optimizer.finish([log["loss_D"] for log in logs])
        return _with_norm(_mean(logs), "grad_norm_D", norm)

    def update_G(self, batch: Mapping[str, Any], optimizer: NetworkOptimizer, prefix: Prefix | None = None) -> Log:
        """Teach the generator to be taken for real, at as many videos as ``batch`` has, of the classes of either."""
        y = self.data.labels(batch, self.device) if prefix is None else prefix.y
        latents = self.draw(len(batch["label"]), prefix)
        logs: list[Log] = []
        with _frozen(self.discriminators):
            for part in self._parts(len(batch["label"]), 0):
                with optimizer.autocast():
                    fake = self.fake(_cut(y, part), latents[part], self._networks[0])
                    with self._iterated(1):
                        scores = self.discriminators(fake.x, fake.y, fake.x_l)
                    loss = self.loss.generator(list(scores.values()))
                optimizer.backward(loss * self._share(part, batch))
                logs.append({"loss_G": loss.detach()})
        norm = optimizer.finish([log["loss_G"] for log in logs])
        if self.average is not None and norm is not None:
            self.average.update(self.generator)
        return _with_norm(_mean(logs), "grad_norm_G", norm)

    def real(self, batch: Mapping[str, Any]) -> Pair:
        """Windows of the data beside their view, ``(x_w, f(x)_w)``."""
        x = self.data.videos(batch, self.device)
        if self.rules.r1:
            x.requires_grad_()
        return Pair(x, None if self.view is None else self.view(x.detach()), self.data.labels(batch, self.device))

    def draw(self, batch: int, prefix: Prefix | None = None) -> Latents:
        """What a fake batch is made of, from torch's global generators.

        x̂_l is that of ``prefix``, or of the frozen sources, never of data. Its windows start anywhere in the video.
        """
        z = ranks.per_clip(torch.randn, batch, self.generator.noise_dim, device=self.device)
        if prefix is not None:
            return Latents(z, x_l=prefix.x_l)
        return Latents(z) if self.prefix is None else Latents(z, *self.prefix.draw(batch))

    @torch.no_grad()
    def draw_prefix(self, batch: Mapping[str, Any]) -> Prefix:
        """x̂_l for all updates of an iteration, of the classes of ``batch`` or a bank's; its parts come one by one."""
        y, latents = self.data.labels(batch, self.device), self.draw(len(batch["label"]))
        parts = slices(len(latents.z), least_parts(len(latents.z), self.rules.most_clips))
        videos, classes = zip(*(self._upsampled(_cut(y, part), latents[part]) for part in parts), strict=True)
        return Prefix(torch.cat(videos), None if y is None else torch.cat(classes))

    def fake(self, y: Tensor | None, latents: Latents, generator: nn.Module | None = None) -> Pair:
        """Generated windows beside what they were made of, ``(G(z, x̂_l), x̂_l)``; of the classes that x̂_l has."""
        x_l, y = self._upsampled(y, latents)
        with self._iterated(0):
            x = (generator or self.generator)(latents.z, y, x_l)
        return Pair(x, x_l, y)

    def scores(self, real: Pair, fake: Pair) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Every discriminator's scores of both, which meet the same weights, and have the same frames drawn for them.

        In one pass, or one after the other.
        """
        network, counts = self._networks[1], [len(real.x), len(fake.x)]
        of_real, of_fake = {}, {}
        if not self.rules.one_pass:
            with torch.random.fork_rng(_generators(real.x)), ranks.among(0, sum(counts)), self._iterated(1):
                of_real = network(real.x, real.y, real.x_l)
            with held_singular_vectors(self.discriminators), ranks.among(counts[0], sum(counts)):
                of_fake = network(fake.x, fake.y, fake.x_l)
            return of_real, of_fake
        x = torch.cat([real.x, fake.x])
        x_l = None if real.x_l is None or fake.x_l is None else torch.cat([real.x_l, fake.x_l])
        y = None if real.y is None or fake.y is None else torch.cat([real.y, fake.y])
        with self._iterated(1):
            scores = network(x, y, x_l)
        for name, both in scores.items():
            of_real[name], of_fake[name] = both.split(counts)
        return of_real, of_fake

    def _upsampled(self, y: Tensor | None, latents: Latents) -> tuple[Tensor | None, Tensor | None]:
        """x̂_l, None in the base stage, and its classes."""
        if latents.x_l is not None or self.prefix is None:
            return latents.x_l, y
        return self.prefix.windows(latents, y)

    def _iterated(self, network: int) -> AbstractContextManager[None]:
        """For one forward of the generator (0) or the discriminators (1): how its singular vectors move."""
        return self._iterations[network]() if self.rules.power_iterations == "together" else nullcontext()

    def _update(self, network: int, update: Callable[[], Log]) -> Log:
        """An update of the generator (0) or the discriminators (1), each of which has a row of failures of its own."""
        return update() if self._undo is None else self._undo[network].attempt(update)

    def _parts(self, clips: int, trained: int) -> Iterator[slice]:
        """The parts of a batch in turn. Gradients are reduced over ranks, and weights normalised anew, but once."""
        parts = slices(clips, least_parts(clips, self.rules.most_clips))
        network = self._networks[trained]
        for number, part in enumerate(parts):
            with ExitStack() as stack:
                if number > 0:
                    stack.enter_context(held_singular_vectors(self))
                if number < len(parts) - 1 and isinstance(network, DistributedDataParallel):
                    stack.enter_context(network.no_sync())
                yield part

    @staticmethod
    def _share(part: slice, batch: Mapping[str, Any]) -> float:
        share: float = (part.stop - part.start) / len(batch["label"])
        return share


def _r1(x: Tensor, scores: Mapping[str, Tensor]) -> Tensor:
    """``1/2 E|∇D(x)|²`` with D the sum of the discriminators' scores, each the mean of its outputs."""
    total = torch.stack([each.float().mean(dim=1).sum() for each in scores.values()]).sum()
    (gradient,) = torch.autograd.grad(total, x, create_graph=True)
    return gradient.float().square().flatten(1).sum(dim=1).mean() / 2


def _cut(y: Tensor | None, part: slice) -> Tensor | None:
    """The classes of a part."""
    return None if y is None else y[part]


def _generators(x: Tensor) -> list[int]:
    """The devices other than the CPU whose random generators ``x`` is drawn for by."""
    return [] if x.device.index is None else [x.device.index]


def _mean(logs: Sequence[Log]) -> Log:
    """The mean over equal parts of a batch."""
    if len(logs) == 1:
        return logs[0]
    return {name: torch.stack([log[name] for log in logs]).mean() for name in logs[0]}


def _with_norm(log: Log, name: str, norm: Tensor | None) -> Log:
    """``log`` with the norm of the gradients; without it where they overflowed, since it would make no mean."""
    return log if norm is None else {**log, name: norm}


@contextmanager
def _frozen(module: nn.Module) -> Iterator[None]:
    """No gradients for ``module``'s own parameters, so that none leak into its next update."""
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)
