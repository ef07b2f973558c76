"""A look at what a dataset holds."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np

from datasets.base import Frames, VideoDataset


def contact_sheet(dataset: VideoDataset, rows: int = 8, columns: int = 8) -> Frames:
    """Clips below one another, each with frames from its first to its last: uint8 ``(H', W', 3)``.

    Args:
        dataset: of RGB clips.
        rows: how many clips, spread evenly over the dataset.
        columns: how many frames, spread evenly over the clip.
    """
    clips = np.unique(np.linspace(0, len(dataset) - 1, rows).round().astype(int))
    sheet = np.zeros((len(clips), columns, dataset.height, dataset.width, dataset.channels), np.uint8)
    for row, clip in enumerate(clips):
        for column, frame in enumerate(np.linspace(0, dataset.frames(int(clip)) - 1, columns).round().astype(int)):
            sheet[row, column] = dataset.window(int(clip), int(frame), 1)[0]
    return np.concatenate(np.concatenate(list(sheet), axis=1), axis=1)


def save_png(path: Path, picture: Frames) -> None:
    """Write ``picture``, uint8 ``(H, W, 3)``, as a PNG file."""
    with av.open(path, "w", format="image2", options={"update": "1"}) as container:
        stream = container.add_stream("png", rate=1)
        stream.height, stream.width, stream.pix_fmt = picture.shape[0], picture.shape[1], "rgb24"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")))
        container.mux(stream.encode())
