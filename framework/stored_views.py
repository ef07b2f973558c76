"""The smaller frames that a store can hold for the stages of a graph: what to write, and which to read.

A level of a store holds every frame of its clips with every ``space``-th pixel picked. Which frames and
windows a stage is given of them is decided at reading, so that every start in a clip stays possible.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import torch

from components.clip import Clip
from components.views import NearestView, flatten, pick
from datasets import Frames
from framework.build import build_data_route
from framework.graph import StageGraph


@attrs.frozen
class StoredView:
    """Frames with every ``space``-th row and column kept, as the stages' own views keep them."""

    space: int

    def __str__(self) -> str:
        """The canonical text by which a store's manifest names the view; "" is the frames as they are."""
        return "" if self.space == 1 else f"nearest space={self.space}"

    def __call__(self, frames: Frames) -> Frames:
        """The view of uint8 ``(T, H, W, C)``: uint8 ``(T, H / space, W / space, C)``, contiguous.

        Raises:
            InputError: ``space`` does not divide the size.
        """
        video = torch.from_numpy(frames).permute(0, 3, 1, 2)[None]
        small: Frames = NearestView(space=self.space)(video)[0].permute(0, 2, 3, 1).contiguous().numpy()
        return small

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the view of frames of ``height`` and ``width``.

        Raises:
            InputError: ``space`` does not divide them.
        """
        clip = NearestView(space=self.space).clip(Clip(1, height, width))
        return clip.height, clip.width


def stored_views(graph: StageGraph) -> list[StoredView]:
    """What the stages of ``graph`` can be made of other than the whole frames, from large to small, each once.

    A stage whose view mixes pixels (a mean, a blur) has none: its values are none of the video's, and would
    have to be rounded to be stored.
    """
    found = {pick(flatten(build_data_route(graph, stage))).space for stage in graph.stages}
    return [StoredView(space) for space in sorted(found - {1})]


def choose_level(held: Sequence[str], space: int) -> tuple[int, int]:
    """The smallest frames that hold every ``space``-th pixel.

    Args:
        held: the canonical text of the view that each level of a dataset holds.
        space: pixels of the dataset's frames per pixel wanted, along each axis.

    Returns:
        The level, and every how many of its pixels are to be kept.
    """
    for kept in (k for k in range(space, 0, -1) if space % k == 0):
        if str(StoredView(kept)) in held:
            return held.index(str(StoredView(kept))), space // kept
    raise ValueError(f"no level holds the frames as they are: {list(held)}")
