"""Decoding one video file to small square frames.

Frames are scaled by swscale's area average so that the short side becomes ``size``, then cropped to the
centre; a smaller video is enlarged. :data:`Resize` names the other ways. Pixels that are not square, the
rotation and mirroring that the container asks for and the limited or full range and colour matrix that the
stream is tagged with are honoured. Pictures that are flagged as interlaced are scaled as whole ones. Odd sizes
are scaled as they are; sides are rounded to whole pixels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Literal, TypeAlias, cast

import numpy as np
from av.buffer import Buffer
from av.filter.graph import Graph
from av.sidedata.sidedata import SideDataContainer, Type
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from av.video.stream import VideoStream

from datasets.base import Frames
from datasets.video_file import VideoError, opened, whole_film

Resize: TypeAlias = Literal["short-crop", "stretch", "long-pad"]
"""``short-crop`` scales the short side and crops the long one, ``stretch`` scales each side by itself, ``long-pad``
scales the long side and puts black bars beside the short one."""

SCALING = Interpolation.AREA | Interpolation.FULL_CHR_H_INT | Interpolation.ACCURATE_RND | Interpolation.BITEXACT


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
        OSError: the file cannot be read.
        MemoryError: there is too little memory for it.
    """
    found = False
    reformatter = VideoReformatter()
    with opened(path) as (container, stream):
        # One thread: the pool of workers is what uses the cores.
        stream.codec_context.thread_count = 1
        if stream.codec_context.name == "hevc":  # the only one that paints over damage without marking the frame
            stream.codec_context.options = {"err_detect": "crccheck+bitstream+buffer+explode"}
        shown = whole_film(path, container, stream)
        for number, frame in enumerate(shown if step is None else _at_constant_rate(shown, step)):
            if number % stride == 0:
                found = True
                yield _upright(path, _to_array(frame, stream, size, resize, reformatter), frame)
    if not found:
        raise VideoError(path, "has no frames")


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


def _to_array(
    frame: VideoFrame, stream: VideoStream, size: int, resize: Resize, reformatter: VideoReformatter
) -> Frames:
    """A frame scaled, and cropped or padded: uint8 ``(size, size, 3)``."""
    if frame.interlaced_frame:
        frame = _progressive(frame)
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
    return square


def _progressive(frame: VideoFrame) -> VideoFrame:
    """The same picture without the flag, for which swscale would scale each field by itself and alias."""
    graph = Graph()
    held = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base or Fraction(1)
    )
    graph.link_nodes(held, graph.add("setfield", "prog"), graph.add("buffersink")).configure()
    graph.push(frame)
    return cast("VideoFrame", graph.pull())


def _upright(path: Path, square: Frames, frame: VideoFrame) -> Frames:
    """``square`` turned and mirrored by the frame's display matrix, at the nearest quarter of a turn.

    The matrix takes a pixel's place (x, y) to the place (a x + c y, b x + d y) where it is shown, y downwards.
    """
    try:
        # Not `frame.side_data`, which makes a cycle of references, so that pictures stay in memory.
        data = cast("Mapping[Type, Buffer]", SideDataContainer(frame))  # type: ignore[call-arg]  # it has no stub
        matrix = data.get(Type.DISPLAYMATRIX)
    except ValueError as error:  # PyAV cannot list side data among which is some that it has no name for
        raise VideoError(path, f"may be turned or mirrored, which PyAV cannot tell: {error}") from error
    if matrix is None:
        return square
    a, b, _, c, d = np.frombuffer(memoryview(matrix), np.int32)[:5].tolist()
    if abs(b) + abs(c) > abs(a) + abs(d):
        square, a, d = square.swapaxes(0, 1), c, b
    return square[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]


def _scaled(width: float, height: float, size: int, resize: Resize) -> tuple[int, int]:
    """Width and height in whole pixels that a picture is scaled to."""
    if resize == "stretch":
        return size, size
    if resize == "short-crop":
        scale = size / min(width, height)
        return max(size, round(width * scale)), max(size, round(height * scale))
    scale = size / max(width, height)
    return max(1, round(width * scale)), max(1, round(height * scale))
