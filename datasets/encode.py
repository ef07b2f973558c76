"""Write frames as a video file."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
from av.container import OutputContainer
from av.video.stream import VideoStream

from datasets.base import Frames


class VideoWriter:
    """An MP4 with H.264 of high quality, which browsers play, frame by frame; equal frames give equal bytes.

    Args:
        path: of the file, whatever its ending.
        rate: frames per second.
    """

    def __init__(self, path: Path, rate: int | Fraction) -> None:
        self._container: OutputContainer = av.open(path, "w", format="mp4")
        self._rate = rate
        self._stream: VideoStream | None = None

    def write(self, frame: Frames) -> None:
        """Add a frame, uint8 ``(H, W, 3)``, H and W even and those of the frames before."""
        if self._stream is None:
            options = {"crf": "12", "threads": "1"}
            self._stream = self._container.add_stream("libx264", rate=self._rate, options=options)
            self._stream.height, self._stream.width, self._stream.pix_fmt = *frame.shape[:2], "yuv420p"
        self._container.mux(self._stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))

    def close(self) -> None:
        """Write what the encoder still holds."""
        if self._stream is not None:
            self._container.mux(self._stream.encode())
        self._container.close()

    def abort(self) -> None:
        """Close the file as it is."""
        self._container.close()


def write_video(path: Path, frames: Iterable[Frames], rate: int | Fraction) -> None:
    """Write ``frames``, uint8 ``(T, H, W, 3)``, with :class:`VideoWriter`."""
    writer = VideoWriter(path, rate)
    try:
        for frame in frames:
            writer.write(frame)
    except BaseException:
        writer.abort()
        raise
    writer.close()
