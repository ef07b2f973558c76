"""Decoding one video file to small square frames.

Frames are scaled by swscale's area average so that the short side becomes ``size``, then cropped to the
centre; a smaller video is enlarged. :data:`Resize` names the other ways. Pixels that are not square, the
rotation that the container asks for and the limited or full range and colour matrix that the stream is tagged
with are honoured. Odd sizes are scaled as they are; sides are rounded to whole pixels.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal, TypeAlias

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from av.video.stream import VideoStream

from datasets.base import Frames

Resize: TypeAlias = Literal["short-crop", "stretch", "long-pad"]
"""``short-crop`` scales the short side and crops the long one, ``stretch`` scales each side by itself, ``long-pad``
scales the long side and puts black bars beside the short one."""

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


def decode(path: Path, size: int, stride: int = 1, *, step: int | None = None, resize: Resize = "short-crop") -> Frames:
    """The frames of :func:`decode_frames` in one array, uint8 ``(T, size, size, 3)``."""
    return np.stack(list(decode_frames(path, size, stride, step=step, resize=resize)))


def decode_frames(
    path: Path, size: int, stride: int = 1, *, step: int | None = None, resize: Resize = "short-crop"
) -> Iterator[Frames]:
    """Every ``stride``-th frame of a video, the first one included.

    Args:
        path: the file.
        size: height and width of the result in pixels.
        stride: frames of the video from one frame of the result to the next.
        step: None takes the frames as they come. Else the video is first brought to a constant rate by its
            timestamps: at every ``step`` units of its time base, the frame that is shown then.
        resize: how a picture becomes a square.

    Yields:
        uint8 ``(size, size, 3)``, RGB; at least one.

    Raises:
        VideoError: the file is no video, is damaged, or ends before its header says.
    """
    found = False
    reformatter = VideoReformatter()
    with opened(path) as (container, stream):
        # One thread: the pool of workers is what uses the cores.
        stream.codec_context.thread_count = 1
        if stream.codec_context.name == "hevc":  # the only one that paints over damage without marking the frame
            stream.codec_context.options = {"err_detect": "crccheck+bitstream+buffer+explode"}
        shown = _whole(path, container, stream)
        for number, frame in enumerate(shown if step is None else _at_constant_rate(shown, step)):
            if number % stride == 0:
                found = True
                yield _to_array(frame, stream, size, resize, reformatter)
    if not found:
        raise VideoError(path, "has no frames")


@contextlib.contextmanager
def opened(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """A video file and its video stream.

    Raises:
        VideoError: there is none in it, or what is done with it fails.
    """
    try:
        with av.open(path, metadata_errors="replace") as container:
            if not container.streams.video:
                raise VideoError(path, "has no video stream")
            stream = container.streams.video[0]
            if stream.codec_context is None:
                raise VideoError(path, "has a header, but no video that can be decoded")
            yield container, stream
    except av.FFmpegError as error:
        raise VideoError(path, f"cannot be decoded: {error.strerror}") from error


def _at_constant_rate(frames: Iterable[VideoFrame], step: int) -> Iterator[VideoFrame]:
    """The frame that is shown at every ``step`` of time from the first frame's time on, up to the last frame's."""
    held: VideoFrame | None = None
    first = place = 0
    for frame in frames:
        if held is None or frame.pts is None:
            next_place, first = (place + 1, first) if held else (0, frame.pts or 0)
        else:
            next_place = max(place, slot(frame.pts - first, step))
        for _ in range(place, next_place):
            assert held is not None  # noqa: S101  # the first frame's place is 0
            yield held
        held, place = frame, next_place
    if held is not None:
        yield held


def slot(time: int, step: int) -> int:
    """The multiple of ``step`` nearest to ``time``."""
    return (2 * time + step) // (2 * step)


def _whole(path: Path, container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
    """The stream's frames, and an error where some are damaged or missing.

    A truncated file decodes to fewer frames without any error of the decoder, so what came is held
    against what the header promises: a number of packets (MP4, AVI) or a duration (Matroska, WebM).
    Packets are counted, not frames, since an edit list rightly hides some. Matroska's header does not tell
    of a few frames lost before the end. Flipped bits are seen where the decoder stumbles over them: nearly
    always in H.264, MPEG-4 and AV1, seldom in HEVC, VP8 and VP9, whose streams decode to something whatever they hold.
    """
    packets, end = 0, 0.0
    for packet in container.demux(stream):
        # An AVI repeats a frame with an empty packet; the empty one without a time only ends the stream.
        packets += packet.size > 0 or packet.dts is not None
        if packet.is_corrupt:
            raise VideoError(path, f"is damaged: packet {packets} is corrupt")
        for frame in packet.decode():
            if frame.is_corrupt:
                raise VideoError(path, f"is damaged: a frame at {frame.time} s is corrupt")
            end = max(end, (frame.time or 0.0) + frame.duration * float(frame.time_base or 0))
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


def _to_array(
    frame: VideoFrame, stream: VideoStream, size: int, resize: Resize, reformatter: VideoReformatter
) -> Frames:
    """A frame scaled, cropped or padded, and turned upright: uint8 ``(size, size, 3)``."""
    shown_width = frame.width * float(stream.sample_aspect_ratio or 1)
    width, height = _scaled(shown_width, frame.height, size, resize)
    # Planes of green, blue and red, which swscale makes twice as fast as pixels.
    scaled = reformatter.reformat(frame, width, height, format="gbrp", interpolation=SCALING, threads=1)
    square = np.zeros((size, size, 3), np.uint8)
    rows, columns = min(size, height), min(size, width)
    top, left = (height - rows) // 2, (width - columns) // 2
    bar, side_bar = (size - rows) // 2, (size - columns) // 2
    for plane, channel in zip(scaled.planes, (1, 2, 0), strict=True):
        pixels = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
        square[bar : bar + rows, side_bar : side_bar + columns, channel] = pixels[top:, left:][:rows, :columns]
    return np.rot90(square, k=round(frame.rotation / 90))


def _scaled(width: float, height: float, size: int, resize: Resize) -> tuple[int, int]:
    """Width and height in whole pixels that a picture is scaled to."""
    if resize == "stretch":
        return size, size
    if resize == "short-crop":
        scale = size / min(width, height)
        return max(size, round(width * scale)), max(size, round(height * scale))
    scale = size / max(width, height)
    return max(1, round(width * scale)), max(1, round(height * scale))
