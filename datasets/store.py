"""The clip store on disk: its format, its manifest, and opening it.

A store is a Zarr 3 group in a folder::

    NAME.zarr/
        zarr.json
        levels/0/           uint8 (N, H, W, C): all clips, one after another in time
        clips/offset        int64 (clips,): where in N a clip starts
        clips/frames        int32 (clips,): how many frames it has
        clips/label         int32 (clips,): its class, -1 when it has none
        clips/attributes/A  int32 (clips,): its value of the attribute A (such as split), -1 when it has none
        names.json          the clips' names
        quarantine.json     the videos that were left out, and why
        manifest.json       settings, counts, the digest of every file and its own; written last

A level is sharded along time. A shard is a file of inner chunks of a few whole frames, each followed by
its CRC32C, then the shard's index with its own; with codec ``none`` the chunks are raw frames, so that a
mapped shard is the array itself. A clip lies inside one shard, or starts at a shard's beginning when it is
longer than one; the frames that no clip claims are zeros. Levels share the clips' offsets and differ in
height and width. A folder without ``manifest.json`` is an unfinished store. A shard that no clip has a frame
in has no file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias

import attrs

from registry import InputError, Positive
from registry.convert import structure, unstructure

FORMAT = "stagewise-clips"
VERSION = 3
CHUNK_FRAMES = 8
SHARD_BYTES = 64 * 2**20
"""About how many bytes of frames a shard holds; one is held in memory while a store is written."""

MANIFEST = "manifest.json"
CHECKSUM = "checksum"
"""The manifest's entry with the SHA-256 of all its others."""
NAMES = "names.json"
QUARANTINE = "quarantine.json"
WORK = "work"
"""Folder in a store that is being ingested: the plan, and notes on what is done."""
INDEX = {"offset": "int64", "frames": "int32", "label": "int32"}
"""The arrays of the group ``clips`` and their types."""

Codec: TypeAlias = Literal["none", "zstd"]


class DamagedStoreError(InputError):
    """A file of a store is missing or does not hold what was written; says which, and whose clip.

    It is made of one line of text, since torch re-raises a loader worker's error as its class called with
    the whole traceback as text; the last line of that is what happened.
    """

    def __init__(self, text: str) -> None:
        line = text.strip().splitlines()[-1].removeprefix(f"{type(self).__module__}.{type(self).__name__}: ")
        super().__init__(InputError.of("", line).problems)
        if line != text:
            self.add_note(text)


@attrs.frozen
class Settings:
    """How the frames lie in a store."""

    height: Positive
    width: Positive
    channels: Positive
    stride: Positive
    codec: Codec
    chunk_frames: Positive
    shard_frames: Positive

    @classmethod
    def of(
        cls, height: int, width: int, channels: int, stride: int, codec: Codec, shard_bytes: int = SHARD_BYTES
    ) -> Settings:
        """Settings with shards of about ``shard_bytes``, of whole chunks."""
        chunks = shard_bytes // (CHUNK_FRAMES * height * width * channels)
        return cls(height, width, channels, stride, codec, CHUNK_FRAMES, CHUNK_FRAMES * max(1, chunks))


@attrs.frozen
class Level:
    """One array of frames of a store."""

    height: Positive
    width: Positive
    view: str = ""
    """What was done to each frame of level 0 to make this one's, as ``"nearest space=4"``; empty in level 0."""


@attrs.frozen
class Manifest:
    """What ``manifest.json`` holds."""

    format: str
    version: int
    settings: Settings
    levels: tuple[Level, ...]
    clips: Positive
    frames: Positive
    """Frames that belong to clips."""
    length: Positive
    """Length N of the arrays in time."""
    classes: tuple[str, ...] | None
    request: Mapping[str, Any]
    """What ingestion was asked for; asked for the same again it has nothing to do."""
    made_with: Mapping[str, str]
    files: Mapping[str, str]
    """Path in the store to SHA-256, for every file of clips."""
    fingerprint: str
    """Digest of what the store holds, whatever it was made with."""
    attributes: Mapping[str, tuple[str, ...]] = attrs.field(factory=dict)
    """Names of what is known of the clips beside their class, such as ``split``, and the values of each."""
    seconds: float | None = None
    """How long the clips are together by the frame rates of their videos; None when one did not say."""

    def signed(self) -> Manifest:
        """The same with the fingerprint as it should be."""
        names = ("version", "settings", "levels", "classes", "attributes", "files")
        return attrs.evolve(self, fingerprint=_digest({name: unstructure(getattr(self, name)) for name in names}))

    def shards(self) -> int:
        """Number of shards of a level."""
        return -(-self.length // self.settings.shard_frames)


def to_json(data: Any) -> bytes:
    """``data`` as JSON, the same bytes for equal data."""
    return (json.dumps(data, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def manifest_bytes(manifest: Manifest) -> bytes:
    """What ``manifest.json`` is to hold: the manifest and the digest of it all."""
    data = unstructure(manifest)
    return to_json({**data, CHECKSUM: _digest(data)})


def _digest(data: Mapping[str, Any]) -> str:
    return hashlib.sha256(to_json(data)).hexdigest()


def shard_name(level: int, number: int) -> str:
    """The path of a shard inside its store."""
    return f"levels/{level}/c/{number}/0/0/0"


def attribute_name(attribute: str) -> str:
    """The name of the array in ``clips`` that holds an attribute."""
    return f"attributes/{attribute}"


def index_name(array: str) -> str:
    """The path of the data of one of the arrays in ``clips``."""
    return f"clips/{array}/c/0"


def read_manifest(path: Path) -> Manifest:
    """The manifest of the store at ``path``.

    Raises:
        InputError: there is no store there, or one that is unfinished or of another format.
        DamagedStoreError: the manifest is not as it was written.
    """
    if not path.exists():
        raise InputError.of(str(path), "there is no such store")
    if not (path / MANIFEST).is_file():
        if (path / "zarr.json").is_file():
            raise InputError.of(str(path), f"this store is unfinished (it has no {MANIFEST}); ingest it again")
        raise InputError.of(str(path), f"this is not a clip store (it has no {MANIFEST})")
    text = _read(path / MANIFEST)
    try:
        data = json.loads(text)
    except ValueError as error:
        raise DamagedStoreError(f"{path / MANIFEST}: is not JSON ({error})") from None
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise InputError.of(str(path), f"this is not a clip store (its {MANIFEST} does not say {FORMAT!r})")
    if data.get("version") != VERSION:
        what = f"this store has format version {data.get('version')}; ingest it again with this version of Stagewise"
        raise InputError.of(str(path), what, allowed=str(VERSION))
    if data.pop(CHECKSUM, None) != _digest(data):
        raise DamagedStoreError(f"{path / MANIFEST}: does not match its own checksum")
    return structure(data, Manifest, str(path / MANIFEST))


def read_whole(path: Path, name: str, manifest: Manifest) -> bytes:
    """A small file of the store, checked against its digest.

    Raises:
        DamagedStoreError: it is missing, cannot be read or differs.
    """
    data = _read(path / name)
    if hashlib.sha256(data).hexdigest() != manifest.files.get(name):
        raise DamagedStoreError(f"{path / name}: does not match its checksum")
    return data


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise DamagedStoreError(f"{path}: is missing") from None
    except OSError as error:
        raise DamagedStoreError(f"{path}: cannot be read: {error.strerror}") from None
