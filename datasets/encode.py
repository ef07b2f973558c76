"""Write frames as a video file."""

from __future__ import annotations

from pathlib import Path

import av

from datasets.base import Frames


def write_video(path: Path, frames: Frames, rate: int) -> None:
    """Write ``frames`` as MP4 with H.264 of high quality, which browsers play; equal frames give equal bytes.

    Args:
        path: of the file, whatever its ending.
        frames: uint8 ``(T, H, W, 3)``, H and W even.
        rate: frames per second.
    """
    with av.open(path, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "12", "threads": "1"})
        stream.height, stream.width, stream.pix_fmt = frames.shape[1], frames.shape[2], "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
