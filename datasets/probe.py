"""How many frames a video has and at what times, from its header or its packets, without decoding.

A video of constant rate is taken frame by frame. A video of variable rate (some frames missing, or shown
longer) is resampled by its timestamps to the rate that most of its frames have.
"""

from __future__ import annotations

from pathlib import Path

import attrs
import numpy as np
import numpy.typing as npt
from av.container import InputContainer
from av.video.stream import VideoStream

from datasets.decode import slot
from datasets.video_file import VideoError, opened

JITTER = 0.1
"""Part of the time between two frames by which it may differ at a constant rate, beside one unit of rounding."""
LONGEST = 100
"""Times more frames that resampling may make of a video than it has; beyond that its timestamps are broken."""


@attrs.frozen
class Timing:
    """When a video's frames are shown."""

    frames: int
    """Frames at a constant rate; a file that is damaged, or hides some of its frames, has fewer."""
    step: int | None
    """Units of the stream's time base from one to the next, by which a video of variable rate is resampled;
    None at constant rate."""
    seconds: float
    """How long it is shown; 0 when the file does not say."""


def probe(path: Path) -> Timing:
    """The timing of a video: of an MP4 or MOV by its header, of other files by reading their packets.

    Raises:
        VideoError: the file is no video.
        OSError: the file cannot be read.
    """
    with opened(path) as (container, stream):
        if stream.frames and "mp4" in container.format.name:
            listed = np.array([entry.timestamp for entry in stream.index_entries], np.int64)
            # Decoding times, which are as far apart as presentation times when the rate is constant.
            if len(listed) and _step(listed) is None:
                return _constant(stream, len(listed))
        return _timing(path, stream, _packet_times(container, stream))


def _packet_times(container: InputContainer, stream: VideoStream) -> list[int | None]:
    return [packet.pts for packet in container.demux(stream) if packet.size and not packet.is_discard]


def _constant(stream: VideoStream, frames: int) -> Timing:
    return Timing(frames, None, float(frames / stream.average_rate) if stream.average_rate else 0.0)


def _timing(path: Path, stream: VideoStream, times: list[int | None]) -> Timing:
    if not times:
        raise VideoError(path, "has no frames")
    known = np.array([time for time in times if time is not None], np.int64)
    step = _step(known) if len(known) == len(times) else None
    if step is None:
        return _constant(stream, len(times))
    frames = slot(int(known.max() - known.min()), step) + 1
    if frames > LONGEST * len(times):
        what = f"has broken timestamps: its {len(times)} frames are spread over {frames} frame times"
        raise VideoError(path, what)
    return Timing(frames, step, float(frames * step * (stream.time_base or 0)))


def _step(times: npt.NDArray[np.int64]) -> int | None:
    """The usual time from one frame to the next, None when all of them are that far apart."""
    apart = np.diff(np.sort(times))
    apart = apart[apart > 0]
    if len(apart) == 0:
        return None
    usual = int(np.median(apart))
    return None if int(abs(apart - usual).max()) <= max(1, JITTER * usual) else usual
