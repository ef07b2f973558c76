"""The first stage's generator, that of DVD-GAN (Clark et al., 2019; appendix B)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from torch import Tensor, nn

from components.clip import Clip, FieldOfView, Span
from components.generators.base import Generator
from components.generators.conditioning import Conditioning
from components.generators.trunk import Trunk
from components.layers import ConvGRU
from components.layers.attention import IN_A_FRAME, Axis
from registry import GENERATORS, InputError, Positive


@GENERATORS.register
class DVDGenerator(Generator):
    """Noise and class to a video: units of a ConvGRU and two 2-D residual blocks.

    Args:
        clip: the clip to generate, ``height == width == 4 * 2**k``.
        classes: number of classes; None when unconditional.
        channels: base number of channels, the paper's ch.
        multipliers: of ``channels``, one for each unit; at least log2(size / 4), the units beyond keep the size.
        noise_dim: length of z.
        embedding_dim: length of a class's embedding.
        attention: resolutions after whose unit self-attention follows (not in the paper).
        attention_axes: over which axes, in which order. With time every frame depends on every other: videos are
            generated whole, in the memory of all their frames, and the stage can have no window.
    """

    statistics_in_windows = True

    def __init__(
        self,
        clip: Clip,
        classes: int | None = None,
        *,
        channels: Positive = 128,
        multipliers: tuple[Positive, ...] = (8, 8, 4, 2),
        noise_dim: Positive = 128,
        embedding_dim: Positive = 128,
        attention: tuple[Positive, ...] = (),
        attention_axes: tuple[Axis, ...] = IN_A_FRAME,
    ) -> None:
        super().__init__()
        self.clip = clip
        self.noise_dim = noise_dim
        self.conditioning = Conditioning(classes, noise_dim, embedding_dim)
        self.trunk = Trunk(
            clip,
            channels=channels,
            multipliers=multipliers,
            condition_dim=self.conditioning.dim,
            temporal_layer=ConvGRU,
            attention=attention,
            attention_axes=attention_axes,
        )

    @property
    def field_of_view(self) -> FieldOfView:
        """All frames before, none after; with attention over time all of them."""
        return self.trunk.field_of_view

    def forward(
        self, z: Tensor, y: Tensor | None = None, x_l: Tensor | None = None, span: Span | None = None
    ) -> Tensor:
        """Generate the frames ``span`` of a video; see :meth:`Generator.forward`.

        Raises:
            InputError: an argument has a wrong shape, or is missing, or has no place here.
        """
        if x_l is not None:
            raise InputError.of("x_l", "a low-resolution video was given to a base generator", allowed="None")
        condition = self.conditioning(z, y)
        video: Tensor = self.trunk(condition, span or Span.whole(self.clip.frames))
        return video

    def reach_of_ends(self) -> FieldOfView:
        """Frames know of those before them alone: the end is felt by none, but with attention over time."""
        return self.trunk.field_of_view

    def stream(
        self, z: Tensor, y: Tensor | None, source: Iterable[Tensor] | None, frames: int, window: int
    ) -> Iterator[Tensor]:
        """Generate a whole video in pieces, carrying the ConvGRUs' states along; see :meth:`Generator.stream`.

        With attention over time it comes in one piece.

        Raises:
            InputError: a source was given, or an argument has a wrong shape.
        """
        if source is not None:
            raise InputError.of("source", "a low-resolution video was given to a base generator", allowed="None")
        if self.field_of_view.future is None:
            yield from super().stream(z, y, None, frames, window)
            return
        pieces = [min(window, frames - start) for start in range(0, frames, window)]
        yield from self.trunk.stream(self.conditioning(z, y), frames, pieces)

    def recomputable(self) -> list[nn.Module]:
        """The units."""
        return list(self.trunk.units)
