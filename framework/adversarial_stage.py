"""One stage of the cascade as it trains: real pairs from data, fake pairs through the frozen sources."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import attrs
import torch
from mmengine.optim import OptimWrapperDict
from torch import Tensor, nn

from components.clip import Span
from components.discriminators import Discriminator
from components.generators import Generator
from components.losses import AdversarialLoss
from components.views import View
from framework.cascade import Cascade
from framework.graph import Stage
from framework.stage_data import StageData


@attrs.frozen(eq=False)
class Pair:
    """Videos beside their low-resolution views, all real or all generated."""

    x: Tensor
    """``(B, T, C, H, W)``, values in [-1, 1]."""
    x_l: Tensor | None
    """``(B, T_l, C, H_l, W_l)``, values in [-1, 1]; None in the base stage."""
    y: Tensor | None
    """Class indices ``(B,)``; None when unconditional."""


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
    """

    def __init__(
        self,
        stage: Stage,
        generator: Generator,
        discriminators: Mapping[str, Discriminator],
        loss: AdversarialLoss,
        data: StageData,
        view: View | None = None,
        sources: Cascade | None = None,
    ) -> None:
        super().__init__()
        self.stage = stage
        self.generator = generator
        self.discriminators = nn.ModuleDict(discriminators)
        self.loss = loss
        self.view = view
        self.data = data
        self.sources = sources

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return next(self.generator.parameters()).device

    def train_step(self, data: Sequence[Mapping[str, Any]], optim_wrapper: OptimWrapperDict) -> dict[str, Tensor]:
        """One iteration: an update of the discriminators per batch of ``data``, then one of the generator.

        Returns:
            Scalars by name: the losses, and each discriminator's mean score of real and generated videos.
        """
        log: dict[str, Tensor] = {}
        for batch in data:
            real = self.real(batch)
            log.update(self.update_D(real, optim_wrapper))
        log.update(self.update_G(real.y, len(real.x), optim_wrapper))
        return log

    def update_D(self, real: Pair, optim_wrapper: OptimWrapperDict) -> dict[str, Tensor]:
        """Teach the discriminators to tell ``real`` from a fake batch of the same classes."""
        with torch.no_grad():
            fake = self.fake(real.y, len(real.x))
        of_real, of_fake = self.scores(real, fake)
        loss = self.loss.discriminator(list(of_real.values()), list(of_fake.values()))
        optim_wrapper["discriminator"].update_params(loss)
        log = {"loss_D": loss.detach()}
        for name in of_real:
            log[f"{name}/real"] = of_real[name].detach().mean()
            log[f"{name}/fake"] = of_fake[name].detach().mean()
        return log

    def update_G(self, y: Tensor | None, batch: int, optim_wrapper: OptimWrapperDict) -> dict[str, Tensor]:
        """Teach the generator to be taken for real, at ``batch`` videos of the classes ``y``."""
        with _frozen(self.discriminators):
            fake = self.fake(y, batch)
            of_fake = [discriminator(fake.x, fake.y, fake.x_l) for discriminator in self.discriminators.values()]
            loss = self.loss.generator(of_fake)
            optim_wrapper["generator"].update_params(loss)
        return {"loss_G": loss.detach()}

    def real(self, batch: Mapping[str, Any]) -> Pair:
        """Windows of the data beside their view, ``(x_w, f(x)_w)``."""
        x, y = self.data.videos(batch, self.device)
        return Pair(x, None if self.view is None else self.view(x), y)

    def fake(self, y: Tensor | None, batch: int) -> Pair:
        """Generated windows beside what they were made of, ``(G(z, x̂_l), x̂_l)``.

        x̂_l is drawn from the frozen sources, never from data. Its window starts anywhere in the
        video, at one place for all the batch, so that the sources compute no more than that window needs.
        """
        z = torch.randn(batch, self.generator.noise_dim, device=self.device)
        if self.sources is None or self.view is None:
            return Pair(self.generator(z, y), None, y)
        window = self.data.draw_window()
        source = Span(window.start // self.view.time, window.stop // self.view.time, self.sources.clip.frames)
        x_l = self.sources.frames(self.sources.noise(batch), y, source)
        return Pair(self.generator(z, y, x_l), x_l, y)

    def scores(self, real: Pair, fake: Pair) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Every discriminator's scores of both, real and fake in one pass so that both meet the same weights."""
        x = torch.cat([real.x, fake.x])
        x_l = None if real.x_l is None or fake.x_l is None else torch.cat([real.x_l, fake.x_l])
        y = None if real.y is None or fake.y is None else torch.cat([real.y, fake.y])
        of_real, of_fake = {}, {}
        for name, discriminator in self.discriminators.items():
            both = discriminator(x, y, x_l)
            of_real[name], of_fake[name] = both.split([len(real.x), len(fake.x)])
        return of_real, of_fake


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
