"""What every generator does, and what a stage may ask of it."""

from __future__ import annotations

from abc import ABC, abstractmethod

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

    def recomputable(self) -> list[nn.Module]:
        """The parts that can be computed again in the backward pass instead of keeping their activations.

        Parts that are called one after the other, each once per forward, with what a layer does besides computing
        done through :mod:`components.layers.recompute`. Default: none.
        """
        return []
