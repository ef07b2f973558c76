"""Where clips lie in time: whole in one shard, or from the start of one on."""

from __future__ import annotations


class Packer:
    """Gives every clip its place, in order.

    A clip goes where the one before it ended if it fits into that shard whole, else to the next shard's start.

    Args:
        shard_frames: frames of a shard.
    """

    def __init__(self, shard_frames: int) -> None:
        self._shard_frames = shard_frames
        self.length = 0
        """Frames up to the end of the last clip."""

    def place(self, frames: int) -> int:
        """The first frame of a clip of ``frames`` frames."""
        left = -self.length % self._shard_frames
        start = self.length if frames <= left else self.length + left
        self.length = start + frames
        return start
