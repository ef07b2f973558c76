"""Where generated videos go, frame by frame as they come: films, pictures, Zarr groups."""

from __future__ import annotations

import shutil
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import zarr

from datasets.encode import VideoWriter
from framework.checkpoint import naming
from framework.gif import GifWriter
from framework.pictures import Pixels, compose, film_side, moments, save_picture, sheet

ZARR_FRAMES = 32
"""Frames in a chunk of a Zarr array."""


@attrs.frozen
class Track:
    """One stage's videos: what an output is told before the first frame."""

    name: str
    frames: int
    height: int
    width: int


class Output(ABC):
    """Takes the frames of every stage as they come; a file has its name once it is whole.

    Args:
        path: of the file or folder.
        tracks: the stages, the base first.
        samples: how many videos each stage makes at once.
    """

    def __init__(self, path: Path, tracks: Sequence[Track], samples: int) -> None:
        self.path, self.tracks, self.samples = path, tuple(tracks), samples
        self.partial = path.with_name(path.name + ".partial")

    @abstractmethod
    def push(self, name: str, start: int, pixels: Pixels) -> None:
        """Take the frames of stage ``name`` from ``start`` on, uint8 ``(samples, n, H, W, 3)``."""

    @abstractmethod
    def close(self) -> None:
        """All frames have come: bring the file to its name."""

    def abandon(self) -> None:
        """Leave nothing behind."""
        shutil.rmtree(self.partial) if self.partial.is_dir() else self.partial.unlink(missing_ok=True)


class Film(Output):
    """All samples in one film, each with its stages side by side, at the length and the size of the largest.

    Args:
        path: of the file; ``.mp4`` or ``.gif``.
        tracks: the stages, the base first.
        samples: how many videos each stage makes.
        rate: frames per second.
    """

    def __init__(self, path: Path, tracks: Sequence[Track], samples: int, rate: Fraction) -> None:
        super().__init__(path, tracks, samples)
        self._frames = max(track.frames for track in tracks)
        self._side = film_side(max(track.height for track in tracks))
        self._waiting: dict[str, dict[int, Pixels]] = {track.name: {} for track in tracks}
        self._time = 0
        writer = GifWriter if path.suffix == ".gif" else VideoWriter
        with naming(path):
            self._writer = writer(self.partial, rate)

    def push(self, name: str, start: int, pixels: Pixels) -> None:
        """Keep the frames until the other stages have come as far, then write."""
        for offset in range(pixels.shape[1]):
            self._waiting[name][start + offset] = pixels[:, offset]
        while self._time < self._frames:
            shown = [(track.name, self._time * track.frames // self._frames) for track in self.tracks]
            if any(frame not in self._waiting[stage] for stage, frame in shown):
                return
            with naming(self.path):
                self._writer.write(compose([self._waiting[stage][frame] for stage, frame in shown], self._side))
            for stage, frame in shown:
                for gone in [each for each in self._waiting[stage] if each < frame]:
                    del self._waiting[stage][gone]
            self._time += 1

    def close(self) -> None:
        """Write what the encoder still holds."""
        with naming(self.path):
            self._writer.close()
        self.partial.replace(self.path)

    def abandon(self) -> None:
        """Leave nothing behind."""
        with suppress(OSError):  # of a full disk: what could not be written is not wanted any more
            self._writer.abort()
        super().abandon()


class Sheet(Output):
    """A contact sheet: a band of rows per sample, in it a row per stage; columns are moments, evenly over time."""

    def __init__(self, path: Path, tracks: Sequence[Track], samples: int) -> None:
        super().__init__(path, tracks, samples)
        self._moments = moments([track.frames for track in tracks])
        self._shown: dict[str, dict[int, Pixels]] = {track.name: {} for track in tracks}

    def push(self, name: str, start: int, pixels: Pixels) -> None:
        """Keep the moments that are shown."""
        index = [track.name for track in self.tracks].index(name)
        for moment in self._moments[index]:
            if start <= moment < start + pixels.shape[1]:
                self._shown[name][moment] = pixels[:, moment - start].copy()

    def close(self) -> None:
        """Draw it."""
        stages = [
            np.stack([self._shown[track.name][moment] for moment in shown], axis=1)
            for track, shown in zip(self.tracks, self._moments, strict=True)
        ]
        save_picture(self.path, sheet(stages))


def make_group(path: Path, tracks: Sequence[Track], samples: int, about: Mapping[str, Any]) -> None:
    """Make the group that :class:`ZarrGroup` fills, with ``about`` for attributes; one process does it for all."""
    partial = path.with_name(path.name + ".partial")
    try:
        with naming(path):
            group = zarr.open_group(partial, mode="w")
            group.attrs.update(about)
            for track in tracks:
                shape = (track.frames, track.height, track.width, 3)
                chunks = (1, min(ZARR_FRAMES, track.frames), *shape[1:])
                group.create_array(track.name, shape=(samples, *shape), chunks=chunks, dtype=np.uint8)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


class ZarrGroup(Output):
    """A Zarr group with an array ``(count, T, H, W, 3)``, uint8, for each stage; made by :func:`make_group`.

    Several processes may fill it, each with samples of its own. One of them closes it.
    """

    def __init__(self, path: Path, tracks: Sequence[Track], samples: int) -> None:
        super().__init__(path, tracks, samples)
        group = zarr.open_group(self.partial, mode="r+")
        self._arrays: dict[str, Any] = {track.name: group[track.name] for track in tracks}
        self._first = 0
        self._waiting: dict[str, list[Pixels]] = {}

    def at(self, first: int) -> None:
        """The frames that come next are those of the samples from ``first`` on."""
        self._first, self._waiting = first, {track.name: [] for track in self.tracks}

    def push(self, name: str, start: int, pixels: Pixels) -> None:
        """Write whole chunks, and keep what is left over: a part of a chunk would be read again to be completed."""
        waiting = self._waiting[name]
        waiting.append(pixels)
        stop = start + pixels.shape[1]
        total = next(track.frames for track in self.tracks if track.name == name)
        whole = stop if stop == total else stop // ZARR_FRAMES * ZARR_FRAMES
        held = np.concatenate(waiting, axis=1)
        begin = stop - held.shape[1]
        if whole > begin:
            with naming(self.path):
                samples = slice(self._first, self._first + len(held))
                self._arrays[name][samples, begin:whole] = held[:, : whole - begin]
            held = held[:, whole - begin :].copy()
        self._waiting[name] = [held] if held.shape[1] else []

    def close(self) -> None:
        """Bring the group to its name, in place of an earlier one."""
        if self.path.exists():
            aside = self.path.with_name(self.path.name + ".old")
            shutil.rmtree(aside, ignore_errors=True)
            self.path.rename(aside)
            self.partial.rename(self.path)
            shutil.rmtree(aside)
        else:
            self.partial.rename(self.path)
