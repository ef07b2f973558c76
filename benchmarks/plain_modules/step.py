"""A stage's iteration written plainly: fp32, two passes of the discriminators, torch's Adam as it comes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import attrs
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils import parametrize

from components.layers import fix_weights
from framework.adversarial_stage import AdversarialStage
from framework.experiment import Experiment, Training
from framework.graph import Stage, StageGraph
from registry import DISCRIMINATORS, GENERATORS, Component
from registry.registry import Registry

from plain_modules.networks import Discriminator, Generator
from plain_modules.weights import take_over


@attrs.frozen(eq=False)
class PlainStep:
    """One iteration on random draws in the order of ours, so that from one seed both do the same.

    Args of the constructor are its fields; ``once`` has every weight normalised once an update, as ours are; else
    torch's spectral norm does it at every call, for each frame of a ConvGRU and each pass of a discriminator anew.
    """

    generator: Generator
    discriminators: dict[str, tuple[Discriminator, int, int]]
    """Each with the frames that it samples, or 0, and the pixels of a block that its input is averaged over."""
    optimizers: tuple[torch.optim.Optimizer, torch.optim.Optimizer]
    batches: Sequence[Mapping[str, Any]]
    conditional: bool
    source: Generator | None = None
    starts: int = 1
    """Windows of the stage's clip."""
    low: tuple[int, int] = (1, 1)
    """Frames and pixels of the window for each of x_l."""
    once: bool = False

    def __call__(self) -> dict[str, Tensor]:
        """Make the iteration and return its losses."""
        for batch in self.batches:
            loss_D = self._update_D(batch)  # noqa: N806  # as the method names it
        return {"loss_D": loss_D, "loss_G": self._update_G(self.batches[-1])}

    def _update_D(self, batch: Mapping[str, Any]) -> Tensor:
        device = self.optimizers[0].param_groups[0]["params"][0].device
        x = batch["frames"].to(device).permute(0, 1, 4, 2, 3).contiguous() / 127.5 - 1
        y = batch["label"].to(device) if self.conditional else None
        with self._weights():
            with torch.no_grad():
                fake, fake_l = self._fake(y, len(x))
            scores = []
            for name, (_, frames, _) in self.discriminators.items():
                chosen = (
                    torch.rand(2 * len(x), x.shape[1], device=device).argsort(1) if 0 < frames < x.shape[1] else None
                )
                real = self._score(name, x, y, self._low(x), chosen if chosen is None else chosen[: len(x)])
                scores.append(
                    (real, self._score(name, fake, y, fake_l, chosen if chosen is None else chosen[len(x) :]))
                )
            of_real, of_fake = (torch.cat(each, 1) for each in zip(*scores, strict=True))
            loss = F.relu(1 - of_real).mean() + F.relu(1 + of_fake).mean()
        return self._apply(loss, self.optimizers[1])

    def _update_G(self, batch: Mapping[str, Any]) -> Tensor:
        device = self.optimizers[0].param_groups[0]["params"][0].device
        y = batch["label"].to(device) if self.conditional else None
        for discriminator, _, _ in self.discriminators.values():
            discriminator.requires_grad_(False)
        with self._weights():
            x, x_l = self._fake(y, len(batch["label"]))
            scores = []
            for name, (_, frames, _) in self.discriminators.items():
                chosen = torch.rand(len(x), x.shape[1], device=device).argsort(1) if 0 < frames < x.shape[1] else None
                scores.append(self._score(name, x, y, x_l, chosen))
            loss = -torch.cat(scores, 1).mean()
        loss = self._apply(loss, self.optimizers[0])
        for discriminator, _, _ in self.discriminators.values():
            discriminator.requires_grad_(True)
        return loss

    def _fake(self, y: Tensor | None, batch: int) -> tuple[Tensor, Tensor | None]:
        device = self.optimizers[0].param_groups[0]["params"][0].device
        z = torch.randn(batch, self.generator.noise_dim, device=device)
        if self.source is None:
            return self.generator(z, y), None
        start = int(torch.randint(self.starts, ()))
        stop = start + self.generator.frames // self.low[0]
        with torch.no_grad():  # a base generator needs no frame after the window
            noise = torch.randn(batch, self.source.noise_dim, device=device)
            x_l = self.source(noise, y, frames=stop)[:, start:]
        return self.generator(z, y, x_l), x_l

    def _score(self, name: str, x: Tensor, y: Tensor | None, x_l: Tensor | None, chosen: Tensor | None) -> Tensor:
        discriminator, frames, pool = self.discriminators[name]
        if name == "matching":
            assert x_l is not None  # noqa: S101  # a stage with a source
            x = torch.cat([self._low(x), x_l], dim=2)
        elif chosen is not None:
            x = torch.stack([clip[order[:frames]] for clip, order in zip(x, chosen, strict=True)])
        elif pool > 1:
            x = F.avg_pool2d(x.flatten(0, 1), pool).unflatten(0, x.shape[:2])
        return discriminator(x, y)

    def _low(self, x: Tensor) -> Tensor:
        return x[:, :: self.low[0], :, :: self.low[1], :: self.low[1]]

    def _weights(self) -> AbstractContextManager[None]:
        return parametrize.cached() if self.once else nullcontext()

    def _apply(self, loss: Tensor, optimizer: torch.optim.Optimizer) -> Tensor:
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()


def plain_step(
    experiment: Experiment,
    name: str,
    training: Training,
    model: AdversarialStage,
    batches: Sequence[Mapping[str, Any]],
    *,
    once: bool,
) -> PlainStep:
    """The plain iteration of the stage ``name``, from the weights of ``model``, on ``batches``.

    For stages of the paper's components: a nearest view, and a base stage as the source, if any.
    """
    graph, stage = experiment.graph, experiment.graph[name]
    device = model.device
    with device:
        generator = plain_generator(graph, stage)
        networks = {part: plain_discriminator(graph, stage, part) for part in model.discriminators}
    take_over(generator, model.generator)
    for part, ours in model.discriminators.items():
        take_over(networks[part][0], ours)
    source, low = None, (1, 1)
    if stage.source and model.sources is not None and stage.view is not None:
        with device:
            source = plain_generator(graph, graph[stage.source])
        fix_weights(source)  # as training does once with sources that stay as they are
        take_over(source, model.sources.links[0].generator)
        source.eval()
        low = (stage.view.options.get("time", 1), stage.view.options.get("space", 1))
    all_D = [p for network, _, _ in networks.values() for p in network.parameters()]  # noqa: N806
    optimizers = (
        torch.optim.Adam(generator.parameters(), lr=training.generator_lr, betas=training.betas),
        torch.optim.Adam(all_D, lr=training.discriminator_lr, betas=training.betas),
    )
    conditional = graph.classes is not None
    return PlainStep(generator, networks, optimizers, batches, conditional, source, model.data.starts, low, once)


def plain_generator(graph: StageGraph, stage: Stage) -> Generator:
    """The plain network of the stage's generator, for its training window (of a base: its whole clip)."""
    options = _options(GENERATORS, stage.generator)
    low, clip = 0, stage.training_clip
    if stage.source:
        low = graph[stage.source].clip.height
    return Generator(
        clip.height,
        clip.frames,
        graph.classes,
        low=low,
        recurrent=stage.source is None or options["temporal_layer"] == "convgru",
        **{name: options[name] for name in ("channels", "multipliers", "noise_dim", "embedding_dim")},
    )


def plain_discriminator(graph: StageGraph, stage: Stage, name: str) -> tuple[Discriminator, int, int]:
    """The plain network of one of the stage's discriminators, the frames it samples, and its pooling of the input."""
    component = stage.discriminators[name]
    options, clip = _options(DISCRIMINATORS, component), stage.training_clip
    matching, spatial = component.type == "MatchingDiscriminator", component.type == "SpatialDiscriminator"
    pool = options.get("pool", 1)
    size = graph[str(stage.source)].clip.height if matching else clip.height // pool
    network = Discriminator(
        6 if matching else 3,
        size,
        graph.classes,
        channels=options["channels"],
        multipliers=options["multipliers"],
        blocks_3d=0 if spatial else 2,
        halve_time=options.get("temporal_pooling", False),
    )
    return network, options["frames"] if spatial else 0, pool


def _options(registry: Registry, component: Component) -> dict[str, Any]:
    """The component's options, defaults included."""
    found = {name: option.default for name, option in registry.options(component.type).items()}
    return {**found, **component.options}
