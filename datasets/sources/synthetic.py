"""Clips that are drawn: one coloured shape bounces inside the frame on a dark ground.

The classes differ in shape and in hue, so that a class can be told at 16x16; position, velocity, size,
tint and ground differ from clip to clip. The same clips come as a dataset in memory, for trying things
out, and as a folder of real video files, for the whole path from ingestion on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt

from datasets.base import Frames, VideoDataset
from datasets.encode import write_video
from registry import DATASETS, InputError, NonNegative, Positive, Range
from registry.progress import Progress

SUPERSAMPLING = 4
RATE = 25
SETTINGS = "synthetic.json"

Plane = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

# In units of the shape's radius, y downwards.
SHAPES: dict[str, Callable[[Plane, Plane], Mask]] = {
    "circle": lambda y, x: y**2 + x**2 <= 1,
    "cross": lambda y, x: (np.minimum(abs(y), abs(x)) <= 0.35) & (np.maximum(abs(y), abs(x)) <= 1),
    "square": lambda y, x: np.maximum(abs(y), abs(x)) <= 0.85,
    "triangle": lambda y, x: (abs(x) <= (y + 1) / 2) & (y <= 1),
}
COLOURS = {"circle": (230, 60, 50), "cross": (235, 210, 60), "square": (60, 200, 80), "triangle": (70, 110, 240)}

Size = Annotated[int, Range(8)]


@DATASETS.register
class SyntheticClips(VideoDataset):
    """Drawn clips, in memory. Classes take turns: clip ``i`` is of class ``i % 4``.

    Args:
        clips: how many.
        frames: of each.
        size: height and width in pixels.
        seed: another seed, other clips.
    """

    def __init__(self, *, clips: Positive = 256, frames: Positive = 32, size: Size = 32, seed: NonNegative = 0) -> None:
        self._clips, self._frames, self._seed = clips, frames, seed
        self.height = self.width = size
        self.channels, self.stride = 3, 1
        self.classes: tuple[str, ...] = tuple(SHAPES)
        self.settings = {"clips": clips, "frames": frames, "size": size, "seed": seed}
        self.fingerprint = hashlib.sha256(json.dumps([type(self).__name__, self.settings]).encode()).hexdigest()

    def __len__(self) -> int:
        """Number of clips."""
        return self._clips

    def frames(self, clip: int) -> int:
        """Number of frames of a clip."""
        self.check_clip(clip)
        return self._frames

    def label(self, clip: int) -> int:
        """The index of a clip's class in ``classes``."""
        return self.check_clip(clip) % len(self.classes)

    def name(self, clip: int) -> str:
        """Class and number, as in ``circle/circle_0001``."""
        name = self.classes[self.label(clip)]
        return f"{name}/{name}_{clip // len(self.classes) + 1:04d}"

    def window(self, clip: int, start: int, frames: int) -> Frames:
        """The frames ``start <= t < start + frames`` of a clip: uint8 ``(frames, H, W, C)``, writable.

        Raises:
            IndexError: there is no such clip, or it does not have these frames.
        """
        self.check_window(clip, start, frames)
        size, name = self.height, self.classes[self.label(clip)]
        random = np.random.default_rng(np.random.SeedSequence(self._seed, spawn_key=(clip,)))
        radius = size * random.uniform(0.16, 0.22)
        place = random.uniform(radius, size - radius, size=2)
        velocity = _velocity(random, size)
        colour = np.clip(np.array(COLOURS[name]) + random.uniform(-20, 20, size=3), 0, 255)
        ground = random.uniform(5, 45, size=3)
        times = np.arange(start, start + frames)[:, None]
        places = _bounce(place + velocity * times, radius, size - radius)
        covers = np.stack([_cover(SHAPES[name], place, radius, size) for place in places])[..., None]
        return np.rint(ground + (colour - ground) * covers).astype(np.uint8)


def write_synthetic(folder: Path, dataset: SyntheticClips) -> int:
    """Write the clips of ``dataset`` as ``folder/CLASS/CLASS_0001.mp4``; those that stand there stay.

    Returns:
        How many files were written.

    Raises:
        InputError: the folder holds something else, or the size is odd (video has half the colour pixels).
    """
    if dataset.height % 2:
        raise InputError.of("size", f"{dataset.height} is odd", allowed="an even number of pixels")
    _check_folder(folder, dataset.settings)
    written = 0
    for clip in Progress(iterable=range(len(dataset)), unit="clip", desc="drawing"):
        path = folder / f"{dataset.name(clip)}.mp4"
        if path.exists():
            continue
        path.parent.mkdir(exist_ok=True)
        partial = path.with_suffix(".partial")
        write_video(partial, dataset.window(clip, 0, dataset.frames(clip)), RATE)
        partial.rename(path)
        written += 1
    return written


def _check_folder(folder: Path, settings: dict[str, Any]) -> None:
    """Mark ``folder`` as holding clips of these settings, or refuse it."""
    note = folder / SETTINGS
    if note.is_file():
        if json.loads(note.read_text()) != settings:
            what = f"other synthetic clips stand here ({SETTINGS} differs); remove the folder or name another"
            raise InputError.of(str(folder), what)
        return
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError.of(str(folder), "something else stands here", allowed="a new or an empty folder")
    folder.mkdir(parents=True, exist_ok=True)
    note.write_text(json.dumps(settings))


def _velocity(random: np.random.Generator, size: int) -> Plane:
    """Pixels per frame: 1 to 2 at 32x32, in any direction."""
    angle = random.uniform(0, 2 * np.pi)
    speed = random.uniform(1, 2) * size / 32
    return speed * np.array([np.sin(angle), np.cos(angle)])


def _bounce(path: Plane, low: float, high: float) -> Plane:
    """A straight path folded back into ``low`` to ``high`` wherever it leaves."""
    span = high - low
    return low + span - abs((path - low) % (2 * span) - span)


def _cover(shape: Callable[[Plane, Plane], Mask], place: Plane, radius: float, size: int) -> Plane:
    """How much of each pixel ``(size, size)`` the shape covers, 0 to 1."""
    grid = (np.arange(size * SUPERSAMPLING) + 0.5) / SUPERSAMPLING
    inside = shape((grid[:, None] - place[0]) / radius, (grid[None, :] - place[1]) / radius)
    cells: Plane = inside.reshape(size, SUPERSAMPLING, size, SUPERSAMPLING).mean(axis=(1, 3))
    return cells
