"""Checking every byte of a store, or whether its files are there, and saying whose clips are damaged."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import attrs

from datasets.reader import ClipStore
from datasets.shard import ShardError
from datasets.store import shard_name
from registry.progress import Progress


@attrs.frozen
class Damage:
    """A file of a store that is missing or damaged."""

    file: str
    """Its path inside the store."""
    what: str
    """What is wrong, as a clause."""
    clips: tuple[int, ...] = ()
    """The clips that cannot be trusted."""


def verify(store: ClipStore) -> list[Damage]:
    """Hold every file of a store against its digest, and every chunk of the damaged shards against its own.

    Opening the store has checked the manifest and the index already.
    """
    shards = {
        shard_name(level, number): (level, number)
        for level in range(len(store.manifest.levels))
        for number in range(store.manifest.shards())
    }
    found: list[Damage] = []
    for name, digest in Progress(iterable=sorted(store.manifest.files.items()), unit="file", desc="verifying"):
        try:
            with (store.path / name).open("rb") as file:
                sound = hashlib.file_digest(file, "sha256").hexdigest() == digest
        except OSError as error:
            what = "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read: {error.strerror}"
            found.append(Damage(name, what, _clips_of(store, *shards[name]) if name in shards else ()))
            continue
        if not sound:
            found.append(_damage(store, name, *shards[name]) if name in shards else Damage(name, "differs"))
    return found


def survey(store: ClipStore) -> list[Damage]:
    """Open every shard, which finds those that are missing or cut short and reads none of their chunks."""
    found = []
    for level in range(len(store.manifest.levels)):
        for number in range(store.manifest.shards()):
            name = shard_name(level, number)
            try:
                if name in store.manifest.files:  # a shard that no clip has a frame in has no file
                    store.open_shard(level, number)
            except ShardError as error:
                found.append(Damage(name, str(error), _clips_of(store, level, number)))
    return found


def _damage(store: ClipStore, name: str, level: int, number: int) -> Damage:
    """What is wrong with a shard whose digest differs."""
    try:
        chunks = list(_damaged_chunks(store, level, number))
    except ShardError as error:
        return Damage(name, str(error), _clips_of(store, level, number))
    settings = store.settings
    first = number * settings.shard_frames
    starts = [first + chunk * settings.chunk_frames for chunk in chunks]
    clips = {clip for start in starts for clip in store.clips_in(start, start + settings.chunk_frames)}
    what = f"is damaged in {len(chunks)} chunks" if chunks else "differs, though all its chunks are sound"
    return Damage(name, what, tuple(sorted(clips)))


def _damaged_chunks(store: ClipStore, level: int, number: int) -> Iterator[int]:
    settings = store.settings
    shard = store.open_shard(level, number)
    frames = min(settings.shard_frames, store.manifest.length - number * settings.shard_frames)
    for chunk in range(-(-frames // settings.chunk_frames)):
        try:
            shard.chunk(chunk)
        except ShardError:
            yield chunk


def _clips_of(store: ClipStore, level: int, number: int) -> tuple[int, ...]:
    size = store.settings.shard_frames
    return tuple(store.clips_in(number * size, (number + 1) * size))
