"""What every generator does, and what a stage may ask of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from components.clip import FieldOfView, Span
from registry import GENERATORS


@GENERATORS.base
class Generator(nn.Module, ABC):
    """Noise, perhaps a class, perhaps a low-resolution video, to a video.

    A generator of the base stage takes ``clip, classes`` before the ``*`` of its constructor; one that
    upsamples takes ``clip, view, classes``. ``clip`` is the training window; at other lengths the same
    weights are applied convolutionally (section 3.2).
    """

    noise_dim: int
    """Length of the noise vector z."""
    statistics_in_windows: bool = False
    """Whether batch statistics too may be taken window by window: every norm sees only frames that are exact,
    and none that the end of the window has touched."""

    @property
    @abstractmethod
    def field_of_view(self) -> FieldOfView:
        """The temporal field of view, counted in output frames; exact, since windowed generation relies on it."""

    @abstractmethod
    def forward(
        self, z: Tensor, y: Tensor | None = None, x_l: Tensor | None = None, span: Span | None = None
    ) -> Tensor:
        """Generate the frames ``span`` of a video.

        In evaluation mode the frames are the very frames that generating the whole video would give.

        Args:
            z: noise ``(B, noise_dim)``.
            y: class indices ``(B,)``, int64; None when unconditional.
            x_l: the low-resolution frames ``source_span(span)``, shape ``(B, T_l, C, H_l, W_l)``, values in
                [-1, 1]; None for a base generator.
            span: which output frames of how many; default all frames, as many as the training clip has
                (base) or as ``x_l`` leads to (upsampling).

        Returns:
            Tensor: ``(B, span.frames, C, H, W)``, values in [-1, 1].
        """

    def source_span(self, span: Span) -> Span | None:
        """The frames of ``x_l`` that the output frames ``span`` depend on; None when there is no ``x_l``."""
        return None

    def reach_of_ends(self) -> FieldOfView:
        """How many frames after a video's beginning, and before its end, feel that there is nothing beyond it.

        Default: those of the field of view. A layer that is padded before ``x_l`` comes in adds to it.
        """
        return self.field_of_view

    def stream(
        self, z: Tensor, y: Tensor | None, source: Iterable[Tensor] | None, frames: int, window: int
    ) -> Iterator[Tensor]:
        """Generate a whole video of any length in pieces, as frames of the source come.

        The frames are those of :meth:`forward` over the whole video. This one runs :meth:`forward` over windows with
        the frames beside that they depend on, and holds only these of the source; where they depend on frames
        without bound it generates the whole video at once. Generators that can go on where they stopped override it.

        Args:
            z: noise ``(B, noise_dim)``.
            y: class indices ``(B,)`` or None.
            source: the low-resolution video's frames in order, ``(B, n, C_l, H_l, W_l)`` each; None for a base
                generator.
            frames: length of the video.
            window: the most frames to compute at a time.

        Yields:
            Tensor: the next frames ``(B, m, C, H, W)``, values in [-1, 1].
        """
        field = self.field_of_view
        step = frames if field.past is None or field.future is None else window
        pieces = iter(() if source is None else source)
        held: Tensor | None = None
        first = 0
        for start in range(0, frames, step):
            span = Span(start, min(start + step, frames), frames)
            needed = self.source_span(span)
            if needed is None:
                yield self(z, y, None, span)
                continue
            while held is None or first + held.shape[1] < needed.stop:
                held = torch.cat([*([] if held is None else [held]), next(pieces)], dim=1)
            held, first = held[:, needed.start - first :], needed.start
            yield self(z, y, held[:, : needed.frames], span)

    def recomputable(self) -> list[nn.Module]:
        """The parts that can be computed again in the backward pass instead of keeping their activations.

        Parts that are called one after the other, each once per forward, with what a layer does besides computing
        done through :mod:`components.layers.recompute`. Default: none.
        """
        return []
