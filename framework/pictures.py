"""Videos as pictures and films that a person looks at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from torch import Tensor

from datasets.encode import write_video
from framework.checkpoint import naming
from framework.pixel_values import frames_of

Pixels = npt.NDArray[np.uint8]

GAP = 2
"""Pixels between the tiles of a picture."""
GROUND = 255
"""Grey value between the tiles."""
LEAST_SIDE = 128
"""Small videos are enlarged, by a whole factor, to at least this many pixels a side in films."""
FILM_RATE = 12
"""Frames per second of films."""
MOST_COLUMNS = 12
"""Moments shown in a contact sheet."""


def to_pixels(video: Tensor) -> Pixels:
    """Videos ``(B, T, C, H, W)`` with values in [-1, 1] as uint8 ``(B, T, H, W, 3)``; of C < 3 the first one, grey."""
    pixels = frames_of(video)
    return np.repeat(pixels[..., :1], 3, axis=-1) if pixels.shape[-1] < 3 else pixels[..., :3]


def contact_sheet(videos: Mapping[str, Tensor]) -> Pixels:
    """One picture: a band of rows per sample, in it a row per stage; columns are moments, evenly over time.

    All stages show the same moments at the same size, so that what an upsampling stage adds stands right
    below what it was made of.

    Args:
        videos: each stage's ``(B, T, C, H, W)`` of the same samples, the base first.

    Returns:
        uint8 ``(H, W, 3)``.
    """
    stages = [to_pixels(video) for video in videos.values()]
    shown = moments([stage.shape[1] for stage in stages])
    return sheet([stage[:, chosen] for stage, chosen in zip(stages, shown, strict=True)])


def moments(lengths: Sequence[int]) -> list[list[int]]:
    """For stages of these lengths the frames that a contact sheet shows: the same moments of each."""
    least = min(lengths)
    columns = min(MOST_COLUMNS, least)
    shown = [column * least // columns for column in range(columns)]  # moments that all stages have
    return [[moment * length // least for moment in shown] for length in lengths]


def sheet(stages: Sequence[Pixels]) -> Pixels:
    """The contact sheet of the moments to show, uint8 ``(samples, columns, H, W, 3)`` of each stage."""
    side = max(stage.shape[2] for stage in stages)
    bands = []
    for sample in range(len(stages[0])):
        rows = [_tile([[_enlarge(frame, side) for frame in stage[sample]]], gap=1) for stage in stages]
        bands.append([_tile([[row] for row in rows], gap=1)])
    return _enlarge_to(_tile(bands, gap=2 * GAP), least=64 * stages[0].shape[1])


def side_by_side(videos: Mapping[str, Tensor], columns: int = 2) -> Pixels:
    """One film: each sample with its stages side by side, all at the length and size of the last.

    Args:
        videos: each stage's ``(B, T, C, H, W)`` of the same samples, the base first.
        columns: samples in a row.

    Returns:
        uint8 ``(T, H, W, 3)``, H and W even as video encoders want them.
    """
    stages = [to_pixels(video) for video in videos.values()]
    frames = max(stage.shape[1] for stage in stages)
    side = film_side(max(stage.shape[2] for stage in stages))
    return np.stack(
        [
            compose([stage[:, time * stage.shape[1] // frames] for stage in stages], side, columns)
            for time in range(frames)
        ]
    )


def film_side(height: int) -> int:
    """Pixels a side at which videos of ``height`` pixels are shown in films."""
    return height * -(-LEAST_SIDE // height)


def compose(stages: Sequence[Pixels], side: int, columns: int = 2) -> Pixels:
    """One frame of a film.

    Args:
        stages: each stage's frame of every sample, uint8 ``(samples, H, W, 3)``.
        side: pixels at which each is shown.
        columns: samples in a row.

    Returns:
        uint8 ``(H, W, 3)``, H and W even as video encoders want them.
    """
    samples = [
        _tile([[_enlarge(stage[sample], side) for stage in stages]], gap=GAP) for sample in range(len(stages[0]))
    ]
    columns = min(columns, len(samples))
    samples += [np.full_like(samples[0], GROUND)] * (-len(samples) % columns)
    return _even(_tile([samples[i : i + columns] for i in range(0, len(samples), columns)], gap=4 * GAP))


def save_picture(path: Path, picture: Pixels) -> None:
    """Write ``picture``, uint8 ``(H, W, 3)``, as PNG; the folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    with naming(path):
        Image.fromarray(picture).save(partial, format="png")
    partial.replace(path)


def save_film(path: Path, film: Pixels, rate: int = FILM_RATE) -> None:
    """Write ``film``, uint8 ``(T, H, W, 3)`` with H and W even, as an MP4 of ``rate`` frames per second."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    with naming(path):
        write_video(partial, film, rate=rate)
    partial.replace(path)


def _tile(rows: list[list[Pixels]], gap: int) -> Pixels:
    """Tiles of one size in a grid, with ``gap`` pixels between."""
    height, width = rows[0][0].shape[:2]
    shape = (len(rows) * (height + gap) - gap, len(rows[0]) * (width + gap) - gap, 3)
    picture = np.full(shape, GROUND, np.uint8)
    for i, row in enumerate(rows):
        for j, tile in enumerate(row):
            top, left = i * (height + gap), j * (width + gap)
            picture[top : top + height, left : left + width] = tile
    return picture


def _enlarge(frame: Pixels, side: int) -> Pixels:
    """A frame at ``side`` pixels, its pixels shown as squares (or as near as the factor allows)."""
    rows = np.arange(side) * frame.shape[0] // side
    columns = np.arange(side) * frame.shape[1] // side
    enlarged: Pixels = frame[rows[:, None], columns]
    return enlarged


def _enlarge_to(picture: Pixels, least: int) -> Pixels:
    """The picture by the whole factor that makes it at least ``least`` pixels wide."""
    factor = max(1, -(-least // picture.shape[1]))
    return picture.repeat(factor, axis=0).repeat(factor, axis=1)


def _even(frame: Pixels) -> Pixels:
    """The frame padded to an even height and width."""
    pad = [(0, frame.shape[0] % 2), (0, frame.shape[1] % 2), (0, 0)]
    return np.pad(frame, pad, constant_values=GROUND)
