"""One unit of a generator: a temporal layer, then two 2-D residual blocks."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from components.clip import Clip, FieldOfView, Span
from components.generators.streaming import LayerStream
from components.layers import GeneratorBlock2d, GeneratorBlock3d, SeparableAttention, conv2d, fold_time, unfold_time
from components.layers.attention import Axis


class GeneratorUnit(nn.Module):
    """Temporal layer, 2-D block, 2-D block that may upsample; perhaps attention.

    With a low-resolution video x_l, each of the three whose output is not larger than x_l is followed by
    adding x_l, nearest-resized and mapped by a 1x1 convolution (appendix B).

    Args:
        temporal: the temporal layer; it says its ``field_of_view``.
        channels: channels of the output, and of everything after the temporal layer.
        condition_dim: length of the batch norms' condition.
        size: height and width of the input.
        upsample: whether the second block doubles the size.
        low: the low-resolution clip that is added, if any.
        attention: the axes that self-attention over follows; none by default.
    """

    def __init__(
        self,
        temporal: nn.Module,
        channels: int,
        condition_dim: int,
        size: int,
        *,
        upsample: bool,
        low: Clip | None = None,
        attention: Sequence[Axis] = (),
    ) -> None:
        super().__init__()
        self.temporal = temporal
        self.block1 = GeneratorBlock2d(channels, channels, condition_dim)
        self.block2 = GeneratorBlock2d(channels, channels, condition_dim, upsample=upsample)
        sizes = {"temporal": size, "block1": size, "block2": 2 * size if upsample else size}
        self.from_low = nn.ModuleDict(
            {
                layer: conv2d(low.channels, channels, 1)
                for layer, at in sizes.items()
                if low is not None and at <= min(low.height, low.width)
            }
        )
        self.attention = SeparableAttention(channels, attention) if attention else nn.Identity()

    @property
    def field_of_view(self) -> FieldOfView:
        """The temporal layer's and the attention's."""
        field = self.temporal.field_of_view
        assert isinstance(field, FieldOfView)  # noqa: S101 - for the type checker: modules' attributes are untyped
        return field + self.attention_field

    @property
    def attention_field(self) -> FieldOfView:
        """The attention's: how far the unit looks in time after x_l has come in."""
        return self.attention.field_of_view if isinstance(self.attention, SeparableAttention) else FieldOfView()

    def forward(self, x: Tensor, condition: Tensor, held: Span, wanted: Span, low: Tensor | None = None) -> Tensor:
        """Apply the unit.

        Args:
            x: the frames ``held``, ``(B, held.frames, C, H, W)``.
            condition: ``(B, condition_dim)``.
            held: which frames ``x`` has: those that the frames ``wanted`` depend on, or more.
            wanted: which frames to return.
            low: x_l in the time of the frames that the attention looks at, ``wanted.widened(attention_field)``,
                ``(B, T, C_l, H_l, W_l)``.

        Returns:
            Tensor: ``(B, wanted.frames, channels, H', W')``.
        """
        x = self._over_time(x, condition, held.start)
        attended = wanted.widened(self.attention_field)
        x = self.blocks(x[:, attended.within(held)], condition, attended.start, low)
        return x[:, wanted.within(attended)]

    def stream(self, condition: Tensor, total: int) -> LayerStream:
        """The temporal layer for a video of ``total`` frames that comes in pieces; :meth:`blocks` are what follows.

        Not for a unit with attention over time, which needs the whole video.
        """
        return LayerStream(self.temporal, lambda x, start: self._over_time(x, condition, start), total)

    def blocks(self, x: Tensor, condition: Tensor, start: int, low: Tensor | None = None) -> Tensor:
        """What comes after the temporal layer; frame by frame, but for attention over time.

        Args:
            x: the temporal layer's output ``(B, T, C, H, W)``.
            condition: ``(B, condition_dim)``.
            start: which frame of its video the first frame of ``x`` is.
            low: x_l at these frames, ``(B, T, C_l, H_l, W_l)``.

        Returns:
            Tensor: ``(B, T, channels, H', W')``.
        """
        x = self._with_low("temporal", x, low)
        x = self._with_low("block1", self.block1(x, condition, start), low)
        x = self._with_low("block2", self.block2(x, condition, start), low)
        attended: Tensor = self.attention(x)
        return attended

    def _over_time(self, x: Tensor, condition: Tensor, start: int) -> Tensor:
        normalised = isinstance(self.temporal, GeneratorBlock3d)
        layered: Tensor = self.temporal(x, condition, start) if normalised else self.temporal(x)
        return layered

    def _with_low(self, layer: str, x: Tensor, low: Tensor | None) -> Tensor:
        if low is None or layer not in self.from_low:
            return x
        resized = F.interpolate(fold_time(low), size=x.shape[-2:], mode="nearest")
        return x + unfold_time(self.from_low[layer](resized), x.shape[1])
