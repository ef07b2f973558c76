"""One task of a plan: decode its videos, write its shards, and note that it is done."""

from __future__ import annotations

import functools
import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import attrs
import numpy as np

from datasets.base import Frames
from datasets.decode import decode_frames
from datasets.disk import locked, named, sync, write_whole
from datasets.options import IngestOptions
from datasets.plan import PlannedVideo, Task, too_short
from datasets.shard_file import write_shard
from datasets.store import WORK, shard_name, to_json
from datasets.video_file import VideoError
from datasets.workers import NO_STEP, Begin

NOTES = f"{WORK}/done"
LOCKS = f"{WORK}/locks"
SCRATCH = f"{WORK}/scratch"
SIGN_OF_LIFE = 256
"""Frames after which a long video's decoding says that it goes on."""
PATIENCE = 5.0
"""Seconds to wait for another writer of the same task: one whose parent was killed may take a moment to end."""


@attrs.frozen
class Note:
    """What became of a task."""

    clips: tuple[tuple[int, int], ...]
    """Place in the task and frames of every clip that was written."""
    left_out: tuple[tuple[int, str, bool], ...]
    """Place in the task, reason, and whether it is broken, of the others."""
    files: Mapping[str, tuple[str, int]]
    """Path in the store to SHA-256 and bytes."""


def make_folders(folder: Path) -> None:
    """What tasks need in the unfinished store ``folder``, as far as it is not there."""
    for name in (NOTES, LOCKS, SCRATCH):
        (folder / name).mkdir(parents=True, exist_ok=True)


def note_path(folder: Path, number: int) -> Path:
    """Where the note on a task lies; a thousand to a folder."""
    return folder / NOTES / f"{number // 1000:04d}" / f"{number:07d}.json"


def read_note(folder: Path, task: Task) -> Note | None:
    """The note on ``task``, None while it is not done or where what it speaks of is gone."""
    try:
        data = json.loads(note_path(folder, task.number).read_bytes())
        for name, (_, size) in data["files"].items():
            if (folder / name).stat().st_size != size:
                return None
    except FileNotFoundError:
        return None
    clips = tuple((place, frames) for place, frames in data["clips"])
    left_out = tuple((place, reason, broken) for place, reason, broken in data["left_out"])
    return Note(clips, left_out, {name: (digest, size) for name, (digest, size) in data["files"].items()})


@attrs.frozen
class WriteTask:
    """The job of doing a task; see :class:`datasets.workers.Job`. Its steps are the places of its videos."""

    folder: Path
    """The unfinished store; an absolute path, as ``source``, since another machine may do the job."""
    source: Path
    task: Task
    options: IngestOptions
    length: int
    """Frames of the levels in time."""

    def __call__(self, forbidden: Mapping[int, str], begin: Begin) -> Note:
        """Write the task's shards and its note, unless that is done."""
        begin(NO_STEP)
        with locked(self.folder / LOCKS / str(self.task.number), patience=PATIENCE):
            done = read_note(self.folder, self.task)
            return self._write(forbidden, begin) if done is None else done

    def _write(self, forbidden: Mapping[int, str], begin: Begin) -> Note:
        scratch = self.folder / SCRATCH / str(self.task.number)
        if scratch.exists():  # of a process that was killed
            shutil.rmtree(scratch)
        scratch.mkdir()
        try:
            shards = _Shards(self, scratch)
            clips, left_out = [], []
            for place, video in enumerate(self.task.videos):
                begin(place)
                try:
                    if place in forbidden:
                        raise VideoError(self.source / video.name, forbidden[place])
                    clips.append((place, self._decode(video, shards, functools.partial(begin, place))))
                    shards.keep()
                except VideoError as error:
                    shards.erase(video)
                    left_out.append((place, error.reason, not isinstance(error, TooShortError)))
            begin(NO_STEP)
            note = Note(tuple(clips), tuple(left_out), shards.finish())
            path = note_path(self.folder, self.task.number)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, to_json(attrs.asdict(note)))
            return note
        except OSError as error:
            raise named(error, self.folder) from None
        finally:
            shutil.rmtree(scratch)

    def _decode(self, video: PlannedVideo, shards: _Shards, alive: Callable[[], None]) -> int:
        """Put a video's frames into the shards and count them."""
        path, options = self.source / video.name, self.options
        with path.open("rb") as file:  # what cannot be read now, though it was when planned, is no broken video
            held = os.fstat(file.fileno()).st_size
        if held != video.bytes:
            raise VideoError(path, f"has changed since it was planned, from {video.bytes} bytes to {held}")
        count = 0
        for frame in decode_frames(path, options.size, options.stride, step=video.step, resize=options.resize):
            if count == video.frames:
                raise VideoError(path, f"has more than the {count} frames that its header lists")
            shards.put(video.offset + count, frame)
            count += 1
            if count % SIGN_OF_LIFE == 0:
                alive()
        if count < options.min_frames:
            raise TooShortError(path, too_short(count, options))
        return count


class TooShortError(VideoError):
    """A sound video of too few frames."""


class _Shards:
    """The shards of a task: one at a time in memory, the others as files in ``scratch`` until all are whole."""

    def __init__(self, job: WriteTask, scratch: Path) -> None:
        self._job, self._scratch = job, scratch
        self._settings, self._levels = job.options.settings(), job.options.all_levels()
        settings = self._settings
        shape = (settings.shard_frames, settings.height, settings.width, settings.channels)
        self._buffer: Frames = np.zeros(shape, np.uint8)
        self._shard = job.task.first
        self._used = self._kept = False  # whether the shard in memory holds frames, and a clip that stays
        self._files: dict[str, tuple[str, int]] = {}

    def put(self, place: int, frame: Frames) -> None:
        """Set the frame at ``place`` of the levels."""
        shard, inside = divmod(place, self._settings.shard_frames)
        if shard > self._shard:
            if self._used:
                self._flush()
            self._shard = shard
        self._buffer[inside] = frame
        self._used = True

    def keep(self) -> None:
        """Let the frames that were put last stay."""
        self._kept = True

    def erase(self, video: PlannedVideo) -> None:
        """Take back all frames of ``video``, the last one that was put."""
        start = video.offset - self._shard * self._settings.shard_frames
        if start < 0:  # a long clip, the task's first, of which some shards are written
            for name in self._files:
                self._scratched(name).unlink()
            self._files.clear()
        self._buffer[max(0, start) : start + video.frames] = 0
        self._used = self._kept

    def finish(self) -> dict[str, tuple[str, int]]:
        """Put the shards in their places: path in the store to SHA-256 and bytes. One without clips has no file."""
        if self._used:
            self._flush()
        for name in self._files:
            path = self._job.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            self._scratched(name).rename(path)
            # The folders c/7, c/7/0 and c/7/0/0 are new as well.
            sync(*path.parents[:4])
        return self._files

    def _flush(self) -> None:
        settings = self._settings
        held = min(settings.shard_frames, self._job.length - self._shard * settings.shard_frames)
        frames = self._buffer[:held]
        for number in range(len(self._levels)):
            name = shard_name(number, self._shard)
            path = self._scratched(name)
            digest = write_shard(
                path, frames if number == 0 else self._job.options.levels[number - 1](frames), settings
            )
            self._files[name] = (digest, path.stat().st_size)
        self._buffer[:] = 0
        self._used = self._kept = False

    def _scratched(self, name: str) -> Path:
        return self._scratch / name.replace("/", "-")
