"""Stages in a row that generate together: ``p(x, x_l) = p(x | x_l) p(x_l)`` (section 3.1)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import attrs
import torch
from torch import Tensor

from components import ranks
from components.clip import Clip, Span
from components.generators import Generator


@attrs.frozen
class Link:
    """One trained stage of a cascade."""

    name: str
    clip: Clip
    generator: Generator
    window: int
    """Frames that the generator is run over at a time when it is unrolled."""


class Cascade:
    """Trained stages from the base upwards, frozen: evaluation mode, no gradients.

    Not a module on purpose: whoever trains on top of a cascade must neither save, nor wrap, nor switch
    to training mode what is in it.
    """

    def __init__(self, links: Sequence[Link]) -> None:
        self.links = tuple(links)
        for link in self.links:
            link.generator.eval().requires_grad_(False)

    def to(self, device: torch.device | str) -> Cascade:
        """Move every generator to ``device``; returns itself."""
        for link in self.links:
            link.generator.to(device)
        return self

    @property
    def device(self) -> torch.device:
        """Where the generators are."""
        return next(self.links[0].generator.parameters()).device

    @property
    def clip(self) -> Clip:
        """What the last stage generates."""
        return self.links[-1].clip

    def noise(self, batch: int, sigma: float = 1.0) -> list[Tensor]:
        """Noise for every stage, ``(batch, noise_dim)`` each, from torch's global generator on the device."""
        sizes = [link.generator.noise_dim for link in self.links]
        return [sigma * ranks.per_clip(torch.randn, batch, size, device=self.device) for size in sizes]

    @torch.no_grad()
    def frames(self, noise: Sequence[Tensor], y: Tensor | None, span: Span) -> Tensor:
        """The frames ``span`` of the last stage's videos, computing of earlier stages only what they need.

        Equal to those frames of :meth:`videos`; each stage says by its field of view which frames of its
        source the asked ones depend on.

        Args:
            noise: one ``(B, noise_dim)`` per stage.
            y: class indices ``(B,)`` or None.
            span: frames of the last stage's clip.

        Returns:
            Tensor: ``(B, span.frames, C, H, W)``, values in [-1, 1].
        """
        return self._frames(len(self.links) - 1, noise, y, span)

    def _frames(self, index: int, noise: Sequence[Tensor], y: Tensor | None, span: Span) -> Tensor:
        generator = self.links[index].generator
        needed = generator.source_span(span)
        x_l = None if needed is None else self._frames(index - 1, noise, y, needed)
        video: Tensor = generator(noise[index], y, x_l, span)
        return video

    def lengths(self, frames: int | None = None) -> list[int]:
        """Frames of every stage's video when the last one's has ``frames``; default its clip's."""
        lengths = [self.clip.frames if frames is None else frames]
        for link in self.links[:0:-1]:
            needed = link.generator.source_span(Span.whole(lengths[0]))
            lengths.insert(0, lengths[0] if needed is None else needed.total)
        return lengths

    @torch.no_grad()
    def stream(
        self,
        noise: Sequence[Tensor],
        y: Tensor | None,
        frames: int | None = None,
        source: Iterable[Tensor] | None = None,
    ) -> Iterator[tuple[str, Tensor]]:
        """Every stage's video in pieces, all stages side by side: a later stage's are made as its source's come.

        Nothing that is held grows with the length of the videos, for generators that stream.

        Args:
            noise: one ``(B, noise_dim)`` per stage.
            y: class indices ``(B,)`` or None.
            frames: length of the last stage's video; default its clip's.
            source: the low-resolution frames ``(B, n, C_l, H_l, W_l)`` in order, where the first stage of this
                cascade upsamples; else None.

        Yields:
            tuple: a stage's name and its next frames ``(B, m, C, H, W)``, values in [-1, 1].
        """
        made: list[tuple[str, Tensor]] = []
        pieces = source
        for link, z, length in zip(self.links, noise, self.lengths(frames), strict=True):
            pieces = _noted(link.name, link.generator.stream(z, y, pieces, length, link.window), made)
        for _ in pieces or ():
            yield from made
            made.clear()
        yield from made

    def videos(self, noise: Sequence[Tensor], y: Tensor | None, frames: int | None = None) -> dict[str, Tensor]:
        """Every stage's whole videos ``(B, T, C, H, W)`` by name, each the unrolling of the one before."""
        pieces: dict[str, list[Tensor]] = {link.name: [] for link in self.links}
        for name, piece in self.stream(noise, y, frames):
            pieces[name].append(piece)
        return {name: torch.cat(parts, dim=1) for name, parts in pieces.items()}

    @torch.no_grad()
    def last(self, noise: Sequence[Tensor], y: Tensor | None, frames: int | None = None) -> Iterator[Tensor]:
        """The last stage's video in pieces ``(B, n, C, H, W)``."""
        for name, piece in self.stream(noise, y, frames):
            if name == self.links[-1].name:
                yield piece


def _noted(name: str, pieces: Iterable[Tensor], made: list[tuple[str, Tensor]]) -> Iterator[Tensor]:
    for piece in pieces:
        made.append((name, piece))
        yield piece


@torch.no_grad()
def unroll(generator: Generator, z: Tensor, y: Tensor | None, x_l: Tensor | None, frames: int, window: int) -> Tensor:
    """Whole videos of ``frames`` frames, generated ``window`` frames at a time (section 3.2).

    Equal to generating all frames at once, but the memory of the features is that of a window. That holds with the
    batch's own statistics too, since they are those of each frame, for generators that say
    ``statistics_in_windows``.

    Args:
        generator: in evaluation mode, or with its norms set by a context of ``components.layers``.
        z: ``(B, noise_dim)``.
        y: class indices ``(B,)`` or None.
        x_l: the source's whole videos ``(B, T_l, C, H_l, W_l)``; None for a base generator.
        frames: length of the videos.
        window: frames at a time.

    Returns:
        Tensor: ``(B, frames, C, H, W)``, values in [-1, 1].
    """
    source = None if x_l is None else [x_l]
    return torch.cat(list(generator.stream(z, y, source, frames, window)), dim=1)
