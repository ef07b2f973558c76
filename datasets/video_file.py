"""A video file: its film, and whether that is whole.

FFmpeg reads through a file of Python's: so an error of the disk is told from an error in the video, a name is
never taken for an address, and a list of other files is never followed.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from fractions import Fraction
from io import FileIO
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from datasets.not_video import what_it_is

CONTAINERS = "AVI, Matroska, MP4, MOV or WebM"
_LIMITS = {"format_whitelist": "avi,matroska,webm,mov,mp4", "protocol_whitelist": "file"}
_ANY_BYTES: dict[str, Any] = {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}
"""Opens films whose titles are in some old encoding; PyAV 19 always does."""
_STILL = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image
_SLACK = 0.25
"""Seconds by which a file may end before the duration that its header states for all its streams together."""
_SAME = Fraction(1, 10)
"""Part of a frame's time by which two durations may differ and count as the same."""
_FINEST = 10_000
"""The largest denominator of a rate that is measured: encoders take no fractions of any length."""


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


@contextlib.contextmanager
def opened(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """A video file and its video stream.

    Raises:
        VideoError: there is none in it, or what is done with it fails.
        OSError: the file cannot be read, which says nothing of the video.
        MemoryError: there is too little memory for it.
    """
    with path.open("rb", buffering=0) as file:
        source = _Source(file)
        try:
            with _container(path, source) as container:
                yield container, _film(path, container)
        except av.error.MemoryError as error:
            raise MemoryError(str(error)) from error
        except av.FFmpegError as error:
            raise VideoError(path, what_it_is(path) or f"cannot be decoded: {error.strerror}") from error
        finally:
            if source.error is not None:  # whatever was made of the bytes that came
                raise OSError(source.error.errno, source.error.strerror, str(path)) from source.error


def frame_rate(path: Path, frames: int) -> Fraction | None:
    """Frames per second at which a video's frames, evenly shown, last as long as it does; None where nothing tells.

    Headers of variable rate do not tell: in WebM, Matroska and AVI they have the unit of time for a rate, 1000. So the
    frames are spread over the time from the first one's begin to the last one's end; without timestamps, over the
    duration of the file. The header's rate is taken where there is neither, and where it says the same but for the
    rounding of timestamps, which in Matroska are milliseconds.

    Args:
        path: the file.
        frames: as many as it decodes to.

    Raises:
        VideoError: it cannot be opened.
        OSError: the file cannot be read.
    """
    with opened(path) as (container, film):
        stated, unit = film.average_rate or None, film.time_base or Fraction(0)
        seconds = _shown(container, film) * unit or Fraction(container.duration or 0, av.time_base)
        if seconds <= 0:
            return stated
        if stated and abs(frames / stated - seconds) <= min(2 * unit, _SAME / stated):
            return stated
        return (frames / seconds).limit_denominator(_FINEST)


def _shown(container: InputContainer, film: VideoStream) -> int:
    """Units of time from the begin of the first frame to the end of the last; 0 without timestamps."""
    packets = [packet for packet in container.demux(film) if packet.size and not packet.is_discard]
    times = [packet.pts for packet in packets]
    if None in times:  # old AVI
        times = [packet.dts for packet in packets]
    spans = [
        (time, time + (packet.duration or 0)) for time, packet in zip(times, packets, strict=True) if time is not None
    ]
    if not spans or len(spans) < len(packets):
        return 0
    first, last = min(spans), max(spans)
    return last[1] - first[0]


class _Source:
    """A file for FFmpeg, which would make an error of the disk an error of the video, or the end of it."""

    def __init__(self, file: FileIO) -> None:
        self._file = file
        self.seek, self.tell = file.seek, file.tell
        self.error: OSError | None = None

    def read(self, size: int) -> bytes:
        """The next bytes, none at the end and from the first error on."""
        try:
            return b"" if self.error else self._file.read(size)
        except OSError as error:
            self.error = error
            return b""


def _container(path: Path, source: _Source) -> InputContainer:
    try:
        container: InputContainer = av.open(source, "r", container_options=_LIMITS, **_ANY_BYTES)
    except av.ArgumentError as error:
        raise VideoError(path, what_it_is(path) or f"cannot be opened as {CONTAINERS}") from error
    return container


def _film(path: Path, container: InputContainer) -> VideoStream:
    """The video stream that is no cover, thumbnail or other picture; of several the one that FFmpeg thinks best."""
    films = [stream for stream in container.streams.video if not stream.disposition & _STILL]
    if not films:
        raise VideoError(path, "has no video stream" + (", only a picture" if container.streams.video else ""))
    best = container.streams.best("video")
    film = next((stream for stream in films if stream is best), films[0])
    if film.codec_context is None:
        raise VideoError(path, "has a header, but no video that can be decoded")
    return film


def whole_film(path: Path, container: InputContainer, film: VideoStream) -> Iterator[VideoFrame]:
    """The frames of ``film``, and an error where some are damaged or missing.

    A truncated file decodes to fewer frames without any error of the decoder, so what came is held against what
    the header promises: a number of packets (MP4, AVI), a duration of the film (Matroska, WebM), or else one of
    all streams together. Packets are counted, not frames, since an edit list rightly hides some. Matroska's header
    does not tell of a few frames lost before the end, and a fragmented MP4 without an index that is cut between
    two fragments is a shorter video. Flipped bits are seen where the decoder stumbles over them: nearly always in
    H.264, MPEG-4 and AV1, seldom in HEVC, VP8 and VP9, whose streams decode to something whatever they hold.

    Raises:
        VideoError: it is damaged, or ends before its header says.
    """
    packets, end, last = 0, 0.0, 0.0
    for packet in container.demux():
        if packet.pts is not None and packet.time_base:
            last = max(last, float((packet.pts + (packet.duration or 0)) * packet.time_base))
        if packet.stream is not film:
            continue
        # An AVI repeats a frame with an empty packet; the empty one without a time only ends the stream.
        packets += packet.size > 0 or packet.dts is not None
        if packet.is_corrupt:
            raise VideoError(path, f"is damaged: packet {packets} is corrupt")
        for frame in film.decode(packet):
            if frame.is_corrupt:
                raise VideoError(path, f"is damaged: a frame at {frame.time or 0.0:.2f} s is corrupt")
            end = max(end, (frame.time or 0.0) + frame.duration * float(frame.time_base or 0))
            yield frame
    promised = _promised_packets(container, film)
    if packets < promised:
        raise VideoError(path, f"is cut short: it has {packets} of the {promised} frames that its header promises")
    slack = 2 / float(film.average_rate or 1)
    if promised_seconds := _promised_seconds(film):
        _check_end(path, end, promised_seconds, slack)
    else:
        _check_end(path, max(end, last), _promised_in_all(container, film), max(slack, _SLACK))


def _check_end(path: Path, end: float, promised: float, slack: float) -> None:
    if end + slack < promised:
        raise VideoError(path, f"is cut short: it ends at {end:.2f} s of the {promised:.2f} s that its header promises")


def _promised_packets(container: InputContainer, film: VideoStream) -> int:
    """Packets that the header promises, less what an edit list leaves out; 0 when it does not say."""
    return min(film.frames, len(film.index_entries)) if "mp4" in container.format.name else film.frames


def _promised_seconds(film: VideoStream) -> float:
    """Matroska's tag ``DURATION``, ``00:00:10.333000000``, in seconds; 0 when there is none."""
    match = re.match(r"(\d+):(\d+):(\d+\.?\d*)", film.metadata.get("DURATION", ""))
    if match is None:
        return 0.0
    hours, minutes, seconds = map(float, match.groups())
    return 3600 * hours + 60 * minutes + seconds


def _promised_in_all(container: InputContainer, film: VideoStream) -> float:
    """The duration in the header of a file that counts no frames (Matroska, fragmented MP4); 0 when it does not say.

    FFmpeg guesses one from the bit rates where it knows any; Matroska's streams, which have no duration of their
    own, are then given that one.
    """
    rated = any(stream.codec_context and stream.codec_context.bit_rate for stream in container.streams)
    guessed = rated and film.duration is not None and "matroska" in container.format.name
    if film.frames or guessed or not container.duration:
        return 0.0
    return container.duration / av.time_base
