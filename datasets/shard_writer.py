"""Writing a store of clips of one length shard by shard, by several processes, from wherever it was left off.

A shard holds whole clips, so that who writes one needs nothing of the others. As with an ingestion, what is known of
the unfinished store lies in its folder ``work``: what it is to be, and the digest of every shard that is whole.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from datasets.base import Frames
from datasets.disk import locked, named, write_whole
from datasets.place import Place
from datasets.shard_file import shard_bytes, write_shard
from datasets.skeleton import Clips, Contents, write_levels, write_rest
from datasets.store import CHUNK_FRAMES, SHARD_BYTES, WORK, Level, Settings, read_manifest, shard_name, to_json
from registry import InputError
from registry.convert import unstructure
from registry.progress import Progress

SHARDS = 64
"""Shards that a store has at least if it has as many clips: so many processes can share the writing."""


@attrs.frozen(kw_only=True)
class EvenClips:
    """Clips of one length, and how they lie in the shards of a store."""

    clips: int
    frames: int
    """Of a clip."""
    per_shard: int
    """Clips in each shard but the last."""
    settings: Settings

    @classmethod
    def of(cls, clips: int, shape: tuple[int, int, int, int], stride: int, batch: int) -> EvenClips:
        """As many whole batches in a shard as its size and :data:`SHARDS` allow; a shard is never less than a clip.

        Args:
            clips: how many.
            shape: of a clip, ``(T, H, W, C)``.
            stride: of its frames.
            batch: clips that are made together.
        """
        frames, height, width, channels = shape
        room = max(1, SHARD_BYTES // (frames * height * width * channels))
        spread = -(-clips // SHARDS)
        wanted = min(room, -(-spread // batch) * batch)
        per_shard = wanted // batch * batch or wanted
        shard_frames = -(-per_shard * frames // CHUNK_FRAMES) * CHUNK_FRAMES
        settings = Settings(height, width, channels, stride, "none", CHUNK_FRAMES, shard_frames)
        return cls(clips=clips, frames=frames, per_shard=per_shard, settings=settings)

    @property
    def shards(self) -> int:
        """How many there are."""
        return -(-self.clips // self.per_shard)

    def clips_of(self, shard: int) -> range:
        """The numbers of the clips in a shard."""
        return range(shard * self.per_shard, min(self.clips, (shard + 1) * self.per_shard))

    def bytes_of(self, shard: int) -> int:
        """The size of a shard's file."""
        settings = self.settings
        frame = settings.height * settings.width * settings.channels
        return shard_bytes(len(self.clips_of(shard)) * self.frames, frame, settings)

    def offset(self, clip: int) -> int:
        """Where in the store's frames a clip starts."""
        shard, place = divmod(clip, self.per_shard)
        return shard * self.settings.shard_frames + place * self.frames


class ShardWriter:
    """Writes a store shard by shard. One process calls :meth:`begin` and :meth:`finish`, any :meth:`write` in between.

    Args:
        path: where the store is to stand.
        even: its clips.
        classes: names of the classes, or None without labels.
        request: what the store is made of. What is left of a store of anything else is not taken over.
    """

    def __init__(self, path: Path, even: EvenClips, classes: Sequence[str] | None, request: Mapping[str, Any]) -> None:
        self._place, self.even = Place.of(path), even
        settings = even.settings
        levels = (Level(settings.height, settings.width),)
        length = even.offset(even.clips - 1) + even.frames
        names = None if classes is None else tuple(classes)
        self._contents = Contents(settings, levels, length, names, request)
        self._plan = to_json({"contents": unstructure(self._contents), "per_shard": even.per_shard})

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keep other commands from writing here: for the process that begins and finishes.

        Raises:
            InputError: another process is writing this store.
        """
        self._place.path.parent.mkdir(parents=True, exist_ok=True)
        with locked(self._place.lock):
            yield

    def begin(self, check: Callable[[list[int]], None] = lambda missing: None) -> list[int]:
        """Take over what is whole of an unfinished store, or of a damaged one that stands here; the shards to write.

        Every shard that is taken over is held against its digest.

        Args:
            check: called with the shards to write before anything is changed; may raise.

        Raises:
            InputError: something that is no unfinished store is in the way.
        """
        self._place.settle()
        found = self._found()
        bar = Progress(iterable=found.items(), unit="shard", desc="verifying") if found else ()
        whole = {shard: (file, digest) for shard, (file, digest) in bar if _digest(file) == digest}
        missing = [shard for shard in range(self.even.shards) if shard not in whole]
        check(missing)
        if not self._begun():
            self._start()
        for shard, (file, digest) in whole.items():
            if file != self._file(shard):
                self._file(shard).parent.mkdir(parents=True, exist_ok=True)
                file.rename(self._file(shard))
                write_whole(self._note(shard), digest.encode())
        if self._standing():
            self._place.discard(self._place.path)
        return missing

    def write(self, shard: int, frames: Frames) -> None:
        """Write a shard, and note that it is whole.

        Args:
            shard: its number.
            frames: of its clips, one after another, uint8 ``(N, H, W, C)``.
        """
        file = self._file(shard)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            digest = write_shard(file, frames, self.even.settings)
        except OSError as error:
            raise named(error, file) from None
        write_whole(self._note(shard), digest.encode())

    def finish(self, names: Sequence[str], labels: Sequence[int] | None) -> None:
        """Put the store, of which all shards are whole, in its place.

        Args:
            names: of the clips.
            labels: indices of their classes.
        """
        even, clips = self.even, Clips()
        for clip, name in enumerate(names):
            clips.append(name, even.offset(clip), even.frames, None if labels is None else labels[clip])
        digests = {shard_name(0, shard): self._noted(shard) for shard in range(even.shards)}
        write_rest(self._place.partial, self._contents, clips, (), digests)
        self._place.put()

    def _begun(self) -> bool:
        plan = self._place.partial / WORK / "plan.json"
        return plan.is_file() and plan.read_bytes() == self._plan

    def _start(self) -> None:
        partial = self._place.partial
        if partial.exists():
            if any(partial.iterdir()) and not (partial / "levels").exists():
                raise InputError.of(str(partial), "this folder is in the way; it is no unfinished store")
            self._place.discard(partial)
        partial.mkdir(parents=True)
        write_levels(partial, self._contents)
        (partial / WORK).mkdir()
        write_whole(partial / WORK / "plan.json", self._plan)

    def _found(self) -> dict[int, tuple[Path, str]]:
        """The shards that are there, unfinished or standing, each with its file and the digest that it should have."""
        begun, standing, found = self._begun(), self._standing(), {}
        for shard in range(self.even.shards):
            name = shard_name(0, shard)
            if standing and (self._place.path / name).is_file():
                found[shard] = self._place.path / name, standing[name]
            if begun and self._note(shard).exists() and self._file(shard).exists():
                found[shard] = self._file(shard), self._noted(shard)
        return found

    def _standing(self) -> Mapping[str, str]:
        """The digests of the files of the store that stands here, if it is this one, whole or not; else none."""
        try:
            manifest = read_manifest(self._place.path)
        except InputError:
            return {}  # nothing stands here, or nothing that could be trusted
        held = (manifest.request, manifest.settings, manifest.clips, manifest.length, manifest.classes)
        contents = self._contents
        asked = (contents.request, contents.settings, self.even.clips, contents.length, contents.classes)
        return manifest.files if held == asked else {}

    def _file(self, shard: int) -> Path:
        return self._place.partial / shard_name(0, shard)

    def _note(self, shard: int) -> Path:
        return self._place.partial / WORK / f"{shard}.sha256"

    def _noted(self, shard: int) -> str:
        """The shard's digest; of a damaged note whatever it holds, which is none."""
        return self._note(shard).read_bytes().decode(errors="replace")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
