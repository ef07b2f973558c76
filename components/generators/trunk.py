"""What the generators of all stages share: the units, their resolutions, and the exact generation of windows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from components.clip import Clip, FieldOfView, Span
from components.generators.streaming import FrameBuffer
from components.generators.unit import GeneratorUnit
from components.layers import ConditionalBatchNorm, conv2d, fold_time, linear, lying, unfold_time
from components.layers.attention import IN_A_FRAME, Axis, check_axes, check_resolutions
from registry import InputError

INITIAL_SIZE = 4
"""Height and width of the first unit's input."""

TemporalLayer = Callable[[int, int], nn.Module]
"""Makes a unit's temporal layer from its numbers of input and output channels."""


class Trunk(nn.Module):
    """Units of a temporal layer and two 2-D blocks, from the condition vector to a video (appendix B).

    A linear map of the condition to 4x4 pixels is the input at every frame. Unit l works at
    ``multipliers[l] * channels`` channels. The first log2(size / 4) units double the resolution, the rest
    keep it (reading of the paper, whose "all but the last" does not fit five units at 128x128). The head is
    norm-ReLU-conv3-tanh.

    Args:
        clip: what to generate; its size, ``height == width == 4 * 2**k``, and channels count here.
        channels: base number of channels.
        multipliers: one for each unit.
        condition_dim: length of the condition vector, which is also the batch norms' condition.
        temporal_layer: makes the temporal layers.
        low: the low-resolution clip that the units add, if any.
        attention: resolutions after whose unit (or units) self-attention follows.
        attention_axes: over which axes, in which order. With time every frame depends on every other, so that a
            video is generated as a whole, whatever part of it is asked for.
    """

    def __init__(
        self,
        clip: Clip,
        *,
        channels: int,
        multipliers: Sequence[int],
        condition_dim: int,
        temporal_layer: TemporalLayer,
        low: Clip | None = None,
        attention: Sequence[int] = (),
        attention_axes: Sequence[Axis] = IN_A_FRAME,
    ) -> None:
        super().__init__()
        self.channels_last = True
        """How features lie in memory; all layers keep it. Set by :func:`~components.layers.lay_channels_last`."""
        sizes = resolutions(clip, len(multipliers))
        check_resolutions(attention, sizes[1:])
        check_axes(attention_axes)
        widths = [multiplier * channels for multiplier in multipliers]
        self.to_features = linear(condition_dim, widths[0] * INITIAL_SIZE**2)
        self.units = nn.ModuleList(
            GeneratorUnit(
                temporal_layer(before, after),
                after,
                condition_dim,
                size,
                upsample=size_after > size,
                low=low,
                attention=attention_axes if size_after in attention else (),
            )
            for before, after, size, size_after in zip(widths[:1] + widths, widths, sizes, sizes[1:], strict=False)
        )
        self.norm = ConditionalBatchNorm(widths[-1], condition_dim)
        self.to_pixels = conv2d(widths[-1], clip.channels)

    @property
    def field_of_view(self) -> FieldOfView:
        """How far an output frame's computation reaches in time, by temporal layers and attention."""
        return sum((unit.field_of_view for unit in self._units()), FieldOfView())

    @property
    def low_field_of_view(self) -> FieldOfView:
        """How far an output frame depends on ``low``, which comes in after the first unit's temporal layer."""
        first, *later = self._units()
        return sum((unit.field_of_view for unit in later), first.attention_field)

    def forward(self, condition: Tensor, span: Span, low: Tensor | None = None) -> Tensor:
        """Generate the frames ``span`` of a video.

        Every temporal layer leaves out the frames that no later one needs, so the frames beside ``span``
        are computed no further than they matter. At the ends of the video the layers pad with zeros just as
        they do on the whole video.

        Args:
            condition: ``(B, condition_dim)``.
            span: the frames wanted.
            low: the frames ``span.widened(low_field_of_view)`` of the low-resolution video in the output's time,
                ``(B, T, C_l, H_l, W_l)``.

        Returns:
            Tensor: ``(B, span.frames, C, H, W)``, values in [-1, 1].
        """
        units = self._units()
        outputs = [span]
        for unit in units[:0:-1]:
            outputs.insert(0, outputs[0].widened(unit.field_of_view))
        held = outputs[0].widened(units[0].field_of_view)
        beside = outputs[0].widened(units[0].attention_field)
        x = self._features(condition, held.frames)
        low = None if low is None else lying(low, channels_last=self.channels_last)
        for unit, wanted in zip(units, outputs, strict=True):
            attended = wanted.widened(unit.attention_field)
            x = unit(x, condition, held, wanted, None if low is None else low[:, attended.within(beside)])
            held = wanted
        return self._head(x, condition, span.start)

    def stream(self, condition: Tensor, total: int, pieces: Iterable[Tensor | int]) -> Iterator[Tensor]:
        """Generate a whole video of ``total`` frames in pieces: the frames of :meth:`forward`, each computed once.

        Every temporal layer goes on from where it was, so nothing grows with the length of the video; the frames come
        :attr:`low_field_of_view`'s future later than the pieces that they are made of. Not with attention over time.

        Args:
            condition: ``(B, condition_dim)``.
            total: frames of the video.
            pieces: frames of the low-resolution video in the output's time, ``(B, n, C_l, H_l, W_l)`` each; or the
                numbers of frames n, where there is no such video.

        Yields:
            Tensor: the next frames ``(B, m, C, H, W)``, values in [-1, 1].
        """
        units = self._units()
        layers = [unit.stream(condition, total) for unit in units]
        low, reached, fed = FrameBuffer(), 0, 0
        for piece in pieces:
            if isinstance(piece, Tensor):
                low.push(lying(piece, channels_last=self.channels_last))
            reached += piece if isinstance(piece, int) else piece.shape[1]
            # The first layer's input is the same at every frame: it need not wait for the frames after.
            ahead = min(reached + layers[0].future, total)
            x: Tensor | None = self._features(condition, ahead - fed)
            fed, start = ahead, 0
            for unit, layer in zip(units, layers, strict=True):
                start = layer.done
                x = None if x is None else layer.push(x, reached)
                if x is None:
                    break
                beside = low.frames(start, layer.done) if low.stop else None
                x = unit.blocks(x, condition, start, beside)
            low.drop(layers[-1].done)
            if x is not None:
                yield self._head(x, condition, start)

    def _features(self, condition: Tensor, frames: int) -> Tensor:
        """The first unit's input ``(B, frames, C, 4, 4)``, the same at every frame."""
        x: Tensor = self.to_features(condition).unflatten(1, (-1, INITIAL_SIZE, INITIAL_SIZE))
        return lying(x.unsqueeze(1), channels_last=self.channels_last).expand(-1, frames, -1, -1, -1)

    def _head(self, x: Tensor, condition: Tensor, start: int) -> Tensor:
        """The last unit's output as pixels."""
        frames = x.shape[1]
        x = F.relu(self.norm(x, condition, start))
        pixels = self.to_pixels(fold_time(x)).to(condition.dtype)  # under autocast, too, videos are float32
        return unfold_time(torch.tanh(pixels), frames)

    def _units(self) -> list[GeneratorUnit]:
        return [unit for unit in self.units if isinstance(unit, GeneratorUnit)]


def resolutions(clip: Clip, units: int) -> list[int]:
    """The resolution before the first unit and after each.

    Raises:
        InputError: the clip is not square, not 4 times a power of 2, or needs more units to be reached.
    """
    doublings = (clip.height // INITIAL_SIZE).bit_length() - 1
    if clip.height != clip.width or clip.height != INITIAL_SIZE << max(doublings, 0):
        raise InputError.of(
            "clip",
            f"{clip.height}x{clip.width} cannot be generated",
            allowed="a square of 4, 8, 16, 32, 64, 128, ... pixels",
        )
    if units < max(doublings, 1):
        raise InputError.of(
            "multipliers",
            f"{units} units cannot reach {clip.height}x{clip.width} from {INITIAL_SIZE}x{INITIAL_SIZE}",
            allowed=f"at least {max(doublings, 1)} multipliers, one for each unit",
        )
    return [INITIAL_SIZE << min(unit, doublings) for unit in range(units + 1)]
