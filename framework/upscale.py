"""Super-resolution: a real low-resolution video in place of an earlier stage's, upsampled by the stages after it."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import attrs
import numpy as np
import torch
from mmengine.device import get_device
from torch import Tensor

from components.clip import Clip, Span
from datasets.decode import decode_frames
from datasets.video_file import CONTAINERS, VideoError, frame_rate
from framework.checkpoint import file_digest
from framework.generate import Given, default_folder, write_videos
from framework.outputs import Track
from framework.request import Request
from framework.together import together
from framework.trained import Trained, find, open_cascade
from registry import InputError

_ALLOWED = f"a whole video file ({CONTAINERS})"


def upscale(
    path: Path, video: Path, request: Request, out: Path | None = None, source: str | None = None
) -> list[Path]:
    """Upsample the video in the file ``video`` by the stages of ``path``, a run or an artifact.

    It is shown beside what is made of it. Its frames are taken as they come, scaled to the stage's size and cropped to
    the centre, as at ingest. Its length is that of the low-resolution video; that of the result follows. Films last as
    long as it does, their frames evenly shown also where its are not.

    Args:
        path: a run folder or an artifact's.
        video: the file.
        request: samples, noise, formats; its ``frames`` are at most so many of the result, and without a ``rate`` of
            its own films have that at which they last as long as the file, if it tells.
        out: folder of the files; default as in :func:`framework.generate.generate`.
        source: the stage whose videos ``video`` stands for; default the base stage.

    Returns:
        The files and folders written.

    Raises:
        InputError: the video is not there, or cannot be decoded; a conditional cascade, and no class was named; or as
            in ``generate``. Nothing is written then.
    """
    together(lambda: _refuse_no_file(video))
    trained = together(lambda: find(path, request.stage))
    after = together(lambda: _source(trained, source))
    low = next(stage.clip for stage in trained.stages if stage.name == after)
    if trained.classes is not None and request.label is None:
        raise InputError.of("--label", "is missing: the cascade is conditional", ", ".join(trained.classes))
    labels = request.labels(trained.classes)
    frames = together(lambda: sum(1 for _ in _decoded(video, low)))
    factor = trained.stages[-1].clip.frames // low.frames
    length = min(frames * factor, request.frames or frames * factor)
    request = attrs.evolve(request, frames=length)
    loaded = together(lambda: open_cascade(trained, length, after))
    first, last = loaded.cascade.links[0], loaded.cascade.lengths(length)[0]
    needed = first.generator.source_span(Span.whole(last))
    shown = Track(after, frames if needed is None else min(frames, needed.total), low.height, low.width)
    device = torch.device(get_device())

    def pieces(samples: int) -> Iterator[Tensor]:
        for frame in _decoded(video, low):
            yield frame.to(device).expand(samples, 1, -1, -1, -1)

    rate = together(lambda: _rate(video, frames))
    about = {"video": str(video), "video_digest": together(lambda: file_digest(video)), "low": str(low)}
    return write_videos(
        trained,
        loaded,
        request,
        labels,
        out or default_folder(trained),
        Given(shown, pieces, None if rate is None else rate * factor),
        about,
        stem=f"_{video.stem}",
    )


def _source(trained: Trained, name: str | None) -> str:
    names = [stage.name for stage in trained.stages[:-1]]
    if not names:
        raise InputError.of("--stage", f"{trained.name!r} is the base stage: it upsamples nothing", "a later stage")
    if name is not None and name not in names:
        raise InputError.unknown("--source", "earlier stage", name, names)
    return names[0] if name is None else name


def _refuse_no_file(video: Path) -> None:
    if video.is_dir():
        raise InputError.of(str(video), "is a folder", _ALLOWED)
    if not video.exists():
        raise InputError.of(str(video), "there is no such file", _ALLOWED)


def _rate(video: Path, frames: int) -> Fraction | None:
    try:
        return frame_rate(video, frames)
    except VideoError as error:
        raise _refused(video, error) from None


def _decoded(video: Path, low: Clip) -> Iterator[Tensor]:
    """The video's frames ``(1, 1, 3, H, W)``, values in [-1, 1].

    Raises:
        InputError: it cannot be decoded.
    """
    try:
        for frame in decode_frames(video, low.height):
            yield torch.from_numpy(np.ascontiguousarray(frame.transpose(2, 0, 1))).div(127.5).sub(1)[None, None]
    except VideoError as error:
        raise _refused(video, error) from None


def _refused(video: Path, error: VideoError) -> InputError:
    return InputError.of(str(video), error.reason, _ALLOWED)
