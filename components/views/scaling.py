"""Views that keep fewer frames and pixels by whole factors."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, Literal

import attrs
import torch
from kornia.geometry.transform import resize
from torch import Tensor
from torch.nn import functional as F

from components.clip import Clip
from components.views.base import View
from registry import VIEWS, InputError, Positive


class ScalingView(View):
    """A view with ``time`` times fewer frames, and ``space`` times fewer pixels along each axis.

    Frame ``t`` of the view is made of the frames ``t * time`` to ``(t + 1) * time - 1`` alone, which is
    what lets :meth:`forward_span` apply :meth:`forward` to a part of the video.
    """

    picks_pixels: ClassVar[bool] = False
    """Whether the view's pixel ``(i, j)`` is the video's pixel ``(i * space, j * space)``."""
    picks_frames: ClassVar[bool] = False
    """Whether the view's frame ``t`` is made of the video's frame ``t * time`` alone."""

    def __init__(self, *, time: Positive = 1, space: Positive = 1) -> None:
        super().__init__()
        self._time = time
        self.space = space

    @property
    def time(self) -> int:
        """How many frames of the input one frame of the view stands for."""
        return self._time

    def clip(self, clip: Clip) -> Clip:
        """The clip that the view makes of ``clip``: fewer frames, farther apart, and fewer pixels.

        Raises:
            InputError: on ``time`` or ``space``, when it does not divide the size it is applied to.
        """
        self._check(clip.frames, clip.height, clip.width)
        return attrs.evolve(
            clip,
            frames=clip.frames // self.time,
            height=clip.height // self.space,
            width=clip.width // self.space,
            stride=clip.stride * self.time,
        )

    def forward(self, video: Tensor) -> Tensor:
        """The view of whole videos: ``(B, T, C, H, W)`` to ``(B, T/time, C, H/space, W/space)``.

        Raises:
            InputError: on ``time`` or ``space``, when it does not divide the size it is applied to.
        """
        self._check(video.shape[1], *video.shape[-2:])
        return self.scale(video)

    def rescaled(self, time: int, space: int) -> ScalingView:
        """The same view by other factors."""
        return type(self)(time=time, space=space)

    @abstractmethod
    def scale(self, video: Tensor) -> Tensor:
        """:meth:`forward` on videos whose sizes divide."""

    def _smaller(self, video: Tensor) -> tuple[int, int]:
        """Height and width of the view of ``video``."""
        return video.shape[-2] // self.space, video.shape[-1] // self.space

    def _check(self, frames: int, height: int, width: int) -> None:
        if frames % self.time:
            raise InputError.of("time", f"{self.time} does not divide {frames} frames", f"a divisor of {frames}")
        for size, name in ((height, "a height"), (width, "a width")):
            if size % self.space:
                what = f"{self.space} does not divide {name} of {size} pixels"
                raise InputError.of("space", what, f"a divisor of {size}")

    def extra_repr(self) -> str:
        """The options, for ``repr``."""
        return f"time={self.time}, space={self.space}"


@VIEWS.register
class NearestView(ScalingView):
    """Nearest-neighbour spatiotemporal downsampling, the paper's view (section 3.1).

    Keeps frame ``t * time`` and pixel ``(i * space, j * space)``: the first of each block, as
    ``torch.nn.functional.interpolate(mode="nearest")`` does.

    Args:
        time: frames of the input per frame of the view.
        space: pixels of the input per pixel of the view, along each axis.
    """

    picks_pixels = picks_frames = True

    def scale(self, video: Tensor) -> Tensor:
        """Every ``time``-th frame, every ``space``-th row and column."""
        return video[:, :: self.time, :, :: self.space, :: self.space]


@VIEWS.register
class AreaView(ScalingView):
    """The mean of each block of ``time`` frames by ``space x space`` pixels.

    Args:
        time: frames of the input per frame of the view.
        space: pixels of the input per pixel of the view, along each axis.
    """

    def scale(self, video: Tensor) -> Tensor:
        """Block means, first over space, then over time."""
        # What `interpolate(mode="area")` gives, as factors are whole; its gradient has no deterministic kernel on GPUs.
        small = torch.unflatten(F.avg_pool2d(video.flatten(0, 1), self.space), 0, video.shape[:2])
        return small.reshape(len(small), -1, self.time, *small.shape[2:]).mean(2)


@VIEWS.register
class AntialiasedView(ScalingView):
    """Every ``time``-th frame, blurred with Kornia's Gaussian and resized in space.

    Args:
        time: frames of the input per frame of the view.
        space: pixels of the input per pixel of the view, along each axis.
        interpolation: how the blurred frames are sampled. ``"bicubic"`` may overshoot, so its result is
            clipped to [-1, 1].
    """

    picks_frames = True

    def __init__(
        self,
        *,
        time: Positive = 1,
        space: Positive = 1,
        interpolation: Literal["bilinear", "bicubic"] = "bilinear",
    ) -> None:
        super().__init__(time=time, space=space)
        self.interpolation = interpolation

    def rescaled(self, time: int, space: int) -> AntialiasedView:
        """The same view by other factors."""
        return AntialiasedView(time=time, space=space, interpolation=self.interpolation)

    def scale(self, video: Tensor) -> Tensor:
        """Frames first, so that only those kept are blurred."""
        video = video[:, :: self.time]
        small: Tensor = resize(video, self._smaller(video), interpolation=self.interpolation, antialias=True)
        return small.clamp(-1, 1) if self.interpolation == "bicubic" else small

    def extra_repr(self) -> str:
        """The options, for ``repr``."""
        return f"{super().extra_repr()}, interpolation={self.interpolation!r}"
