"""Where the windows of x̂_l come from that a stage trains on; here, made by the frozen stages as they are needed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from components.clip import Span
from framework.batch import Latents
from framework.cascade import Cascade
from framework.stage_data import StageData


class PrefixSource(Protocol):
    """Gives x̂_l windows ``(B, T_l, C, H_l, W_l)``, values in [-1, 1], and the classes that they are of."""

    def draw(self, batch: int) -> tuple[Sequence[Tensor], Span | None]:
        """What is random about a batch, from torch's global generators: ``of_sources`` and ``window`` of its Latents.

        Which clip of the whole batch gets which does not depend on the number of ranks that share it.
        """

    def windows(self, latents: Latents, y: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The windows that were drawn, for classes ``y``, ``(B,)``, and the classes that they have."""


class LivePrefix:
    """Computes each window from noise, by the frozen stages, over the frames that it depends on.

    A batch's windows start at one place, so that the sources compute no more frames than that place needs.

    Args:
        sources: the frozen stages.
        data: says which windows there are.
        time: how many of the stage's frames one of its source's stands for.
    """

    def __init__(self, sources: Cascade, data: StageData, time: int) -> None:
        self._sources, self._data, self._time = sources, data, time

    def draw(self, batch: int) -> tuple[Sequence[Tensor], Span | None]:
        """A place, and noise ``(B, noise_dim)`` for every source."""
        window = self._data.draw_window()
        source = Span(window.start // self._time, window.stop // self._time, self._sources.clip.frames)
        return self._sources.noise(batch), source

    def windows(self, latents: Latents, y: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Windows of the classes asked for."""
        assert latents.window is not None  # noqa: S101 - for the type checker: this prefix has drawn it
        return self._sources.frames(latents.of_sources, y, latents.window), y
