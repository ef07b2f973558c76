"""The generator of the stages after the first (section 3.3, appendix B)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

from torch import Tensor, nn

from components.checks import check_shape
from components.clip import Clip, FieldOfView, Span
from components.generators.base import Generator
from components.generators.conditioning import Conditioning
from components.generators.streaming import regrouped
from components.generators.trunk import INITIAL_SIZE, Trunk
from components.layers import ConvGRU, GeneratorBlock3d, SeparableConv3d
from components.layers.attention import IN_A_FRAME, Axis
from components.views.base import View
from registry import GENERATORS, InputError, Positive


@GENERATORS.register
class UpsamplingGenerator(Generator):
    """Noise, class and a low-resolution video x_l to a video with more pixels and frames.

    The first stage's trunk, with another temporal layer: from the noise alone at 4x4, x_l, repeated in time, is
    added after each layer as long as the resolution is not above that of x_l.

    Args:
        clip: the training window to generate, ``height == width == 4 * 2**k``.
        view: leads from the output to x_l.
        classes: number of classes; None when unconditional.
        channels: base number of channels, the paper's ch.
        multipliers: of ``channels``, one for each unit; at least log2(size / 4), the units beyond keep the size.
        temporal_layer: ``"separable"``, a separable 3-D convolution (appendix B); ``"convgru"`` (appendix C's
            variant; every frame then depends on all before it); or ``"resnet3d"``, a whole residual block of two
            separable 3-D convolutions (section 4's wording).
        noise_dim: length of z.
        embedding_dim: length of a class's embedding.
        attention: resolutions after whose unit self-attention follows (not in the paper).
        attention_axes: over which axes, in which order. With time every frame depends on every other: videos are
            generated whole, in the memory of all their frames, and the stage can have no window.
    """

    def __init__(
        self,
        clip: Clip,
        view: View,
        classes: int | None = None,
        *,
        channels: Positive = 128,
        multipliers: tuple[Positive, ...] = (8, 8, 4, 2, 1),
        temporal_layer: Literal["separable", "convgru", "resnet3d"] = "separable",
        noise_dim: Positive = 128,
        embedding_dim: Positive = 128,
        attention: tuple[Positive, ...] = (),
        attention_axes: tuple[Axis, ...] = IN_A_FRAME,
    ) -> None:
        super().__init__()
        self.low = view.clip(clip)
        if min(self.low.height, self.low.width) < INITIAL_SIZE:
            what = f"x_l is {self.low.height}x{self.low.width}, too small to be added anywhere"
            raise InputError.of("view", what, allowed=f"at least {INITIAL_SIZE}x{INITIAL_SIZE}")
        self.time = view.time
        self.noise_dim = noise_dim
        # The 3-D residual block has a norm between its convolutions, beyond where the window still is exact.
        self.statistics_in_windows = temporal_layer != "resnet3d"
        self.conditioning = Conditioning(classes, noise_dim, embedding_dim)

        def make_temporal_layer(in_channels: int, out_channels: int) -> nn.Module:
            if temporal_layer == "separable":
                return SeparableConv3d(in_channels, out_channels)
            if temporal_layer == "convgru":
                return ConvGRU(in_channels, out_channels)
            return GeneratorBlock3d(in_channels, out_channels, self.conditioning.dim)

        self.trunk = Trunk(
            clip,
            channels=channels,
            multipliers=multipliers,
            condition_dim=self.conditioning.dim,
            temporal_layer=make_temporal_layer,
            low=self.low,
            attention=attention,
            attention_axes=attention_axes,
        )

    @property
    def field_of_view(self) -> FieldOfView:
        """How far an output frame depends on x_l: a frame to each side for each convolution over time after it.

        (With ConvGRUs on all frames before, with attention over time on all.)
        The first unit's temporal layer comes before x_l does; its input is the same at every frame.
        """
        return self.trunk.low_field_of_view

    def source_span(self, span: Span) -> Span:
        """The frames of x_l that the output frames ``span`` depend on."""
        return span.widened(self.field_of_view).shrunk(self.time)

    def forward(
        self, z: Tensor, y: Tensor | None = None, x_l: Tensor | None = None, span: Span | None = None
    ) -> Tensor:
        """Generate the frames ``span`` of a video; see :meth:`Generator.forward`.

        Raises:
            InputError: an argument has a wrong shape, or is missing.
        """
        low = self.low
        if x_l is None:
            raise InputError.of(
                "x_l", "is missing: the generator upsamples", allowed="the source stage's video (B, T, C, H, W)"
            )
        held = "T_l" if span is None else self.source_span(span).frames
        check_shape("x_l", x_l, len(z), held, low.channels, low.height, low.width)
        span = span or Span.whole(x_l.shape[1] * self.time)
        condition = self.conditioning(z, y)
        video: Tensor = self.trunk(condition, span, self._repeated(x_l, span))
        return video

    def reach_of_ends(self) -> FieldOfView:
        """Every unit's temporal layer is padded, the first one's too."""
        return self.trunk.field_of_view

    def stream(
        self, z: Tensor, y: Tensor | None, source: Iterable[Tensor] | None, frames: int, window: int
    ) -> Iterator[Tensor]:
        """Generate a whole video in pieces, each frame once; see :meth:`Generator.stream`.

        With attention over time it comes in one piece.

        Raises:
            InputError: an argument has a wrong shape, or the source is missing.
        """
        low = self.low
        if source is None:
            raise InputError.of("source", "is missing: the generator upsamples", allowed="the source stage's frames")

        if self.field_of_view.future is None:
            yield from super().stream(z, y, source, frames, window)
            return

        def checked() -> Iterator[Tensor]:
            for piece in source:
                check_shape("source", piece, len(z), "T_l", low.channels, low.height, low.width)
                yield piece

        def repeated() -> Iterator[Tensor]:
            left = frames
            for piece in regrouped(checked(), max(1, window // self.time)):
                longer = piece.repeat_interleave(self.time, dim=1)[:, :left]
                left -= longer.shape[1]
                yield longer
                if not left:
                    return

        yield from self.trunk.stream(self.conditioning(z, y), frames, repeated())

    def recomputable(self) -> list[nn.Module]:
        """The units."""
        return list(self.trunk.units)

    def _repeated(self, x_l: Tensor, span: Span) -> Tensor:
        """The frames ``source_span(span)``, each as often as the view left frames out, in the trunk's time."""
        wanted = span.widened(self.field_of_view)
        repeated = x_l.repeat_interleave(self.time, dim=1)
        start = self.source_span(span).start * self.time
        return repeated[:, wanted.start - start : wanted.stop - start]
