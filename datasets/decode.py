"""Decoding one video file to small square frames.

Frames are scaled by swscale's area average so that the short side becomes ``size``, then cropped to the
centre; a smaller video is enlarged. Pixels that are not square, the rotation that the container asks for and the
limited or full range and colour matrix that the stream is tagged with are honoured. Odd sizes are
scaled as they are; the long side is rounded to whole pixels.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation
from av.video.stream import VideoStream

from datasets.base import Frames

SCALING = Interpolation.AREA | Interpolation.FULL_CHR_H_INT | Interpolation.ACCURATE_RND | Interpolation.BITEXACT


class VideoError(Exception):
    """A video that cannot be decoded whole.

    Attributes:
        path: the file.
        reason: what is wrong with it, as a clause.
    """

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


def decode(path: Path, size: int, stride: int = 1) -> Frames:
    """Every ``stride``-th frame of a video, the first one included.

    Args:
        path: the file.
        size: height and width of the result in pixels.
        stride: frames of the file from one frame of the result to the next.

    Returns:
        uint8 ``(T, size, size, 3)``, RGB.

    Raises:
        VideoError: the file is no video, is damaged, or ends before its header says.
    """
    try:
        with av.open(path, metadata_errors="replace") as container:
            if not container.streams.video:
                raise VideoError(path, "has no video stream")
            stream = container.streams.video[0]
            if stream.codec_context is None:
                raise VideoError(path, "has a header, but no video that can be decoded")
            frames = [_to_array(frame, stream, size) for frame in _every(stride, _whole(path, container, stream))]
    except av.FFmpegError as error:
        raise VideoError(path, f"cannot be decoded: {error.strerror}") from error
    if not frames:
        raise VideoError(path, "has no frames")
    return np.stack(frames)


def _every(stride: int, frames: Iterator[VideoFrame]) -> Iterator[VideoFrame]:
    return (frame for number, frame in enumerate(frames) if number % stride == 0)


def _whole(path: Path, container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
    """The stream's frames, and an error where some are damaged or missing.

    A truncated file decodes to fewer frames without any error of the decoder, so what came is held
    against what the header promises: a number of packets (MP4, AVI) or a duration (Matroska, WebM).
    Packets are counted, not frames, since an edit list rightly hides some. Matroska's header does not tell
    of a few frames lost before the end, nor VP8 and VP9 of flipped bits.
    """
    # One thread: the pool of workers is what uses the cores.
    stream.codec_context.thread_count = 1
    packets, end = 0, 0.0
    for packet in container.demux(stream):
        # An AVI repeats a frame with an empty packet; the empty one without a time only ends the stream.
        packets += packet.size > 0 or packet.dts is not None
        if packet.is_corrupt:
            raise VideoError(path, f"is damaged: packet {packets} is corrupt")
        for frame in packet.decode():
            if frame.is_corrupt:
                raise VideoError(path, f"is damaged: a frame at {frame.time} s is corrupt")
            end = max(end, frame.time or 0.0)
            yield frame
    promised = _promised_packets(container, stream)
    if packets < promised:
        raise VideoError(path, f"is cut short: it has {packets} of the {promised} frames that its header promises")
    duration = _promised_seconds(stream)
    frame_time = 1 / float(stream.average_rate or 1)
    if end + 2 * frame_time < duration:
        raise VideoError(path, f"is cut short: it ends at {end:.2f} s of the {duration:.2f} s that its header promises")


def _promised_packets(container: InputContainer, stream: VideoStream) -> int:
    """Packets that the header promises, less what an edit list leaves out; 0 when it does not say."""
    return min(stream.frames, len(stream.index_entries)) if "mp4" in container.format.name else stream.frames


def _promised_seconds(stream: VideoStream) -> float:
    """Matroska's tag ``DURATION``, ``00:00:10.333000000``, in seconds; 0 when there is none."""
    match = re.match(r"(\d+):(\d+):(\d+\.?\d*)", stream.metadata.get("DURATION", ""))
    if match is None:
        return 0.0
    hours, minutes, seconds = map(float, match.groups())
    return 3600 * hours + 60 * minutes + seconds


def _to_array(frame: VideoFrame, stream: VideoStream, size: int) -> Frames:
    """A frame scaled, cropped and turned upright: uint8 ``(size, size, 3)``."""
    shown_width = frame.width * float(stream.sample_aspect_ratio or 1)
    scale = size / min(shown_width, frame.height)
    width, height = max(size, round(shown_width * scale)), max(size, round(frame.height * scale))
    pixels = frame.reformat(width, height, format="rgb24", interpolation=SCALING, threads=1).to_ndarray()
    top, left = (height - size) // 2, (width - size) // 2
    square = pixels[top : top + size, left : left + size]
    return np.ascontiguousarray(np.rot90(square, k=round(frame.rotation / 90)))
