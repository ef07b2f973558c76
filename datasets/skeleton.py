"""All of a store but its shards: Zarr's metadata, the index of clips, and the manifest that makes it a store."""

from __future__ import annotations

import hashlib
import importlib.metadata
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import zarr
from zarr.codecs import Crc32cCodec, ZstdCodec

from datasets.disk import sync, sync_tree, write_whole
from datasets.shard_file import ZSTD_LEVEL
from datasets.store import (
    FORMAT,
    INDEX,
    MANIFEST,
    NAMES,
    QUARANTINE,
    VERSION,
    Codec,
    Level,
    Manifest,
    Settings,
    attribute_name,
    index_name,
    manifest_bytes,
    to_json,
)


@attrs.frozen
class Clips:
    """The clips that a store holds, in their order."""

    names: list[str] = attrs.field(factory=list)
    offsets: list[int] = attrs.field(factory=list)
    frames: list[int] = attrs.field(factory=list)
    labels: list[int] = attrs.field(factory=list)
    """-1 where a clip has no class."""
    attributes: Mapping[str, list[int]] = attrs.field(factory=dict)
    """For each attribute the place of every clip's value in ``Contents.attributes``, or -1."""
    seconds: list[float] = attrs.field(factory=list)
    """How long the clips are, 0 where that is not known."""

    def append(self, name: str, offset: int, frames: int, label: int | None, seconds: float = 0.0) -> None:
        """Add a clip."""
        self.seconds.append(seconds)
        self.names.append(name)
        self.offsets.append(offset)
        self.frames.append(frames)
        self.labels.append(-1 if label is None else label)


@attrs.frozen
class Contents:
    """What a store is, apart from its clips."""

    settings: Settings
    levels: tuple[Level, ...]
    length: int
    """Frames of the levels in time."""
    classes: tuple[str, ...] | None
    request: Mapping[str, Any]
    attributes: Mapping[str, tuple[str, ...]] = attrs.field(factory=dict)


def write_levels(folder: Path, contents: Contents) -> None:
    """Zarr's metadata of the group and of the levels, whose shards are written by others; on the disk at the end."""
    group = zarr.open_group(folder, mode="a", zarr_format=3)
    settings = contents.settings
    for number, level in enumerate(contents.levels):
        shape = (level.height, level.width, settings.channels)
        group.create_array(
            f"levels/{number}",
            shape=(contents.length, *shape),
            dtype="uint8",
            chunks=(settings.chunk_frames, *shape),
            shards=(settings.shard_frames, *shape),
            compressors=_codecs(settings.codec),
            fill_value=0,
        )
        (folder / "levels" / str(number) / "c").mkdir(exist_ok=True)
    # What is written after this may take it for granted.
    sync_tree(folder)


def write_rest(
    folder: Path,
    contents: Contents,
    clips: Clips,
    quarantine: Sequence[Mapping[str, str]],
    shards: Mapping[str, str],
) -> Manifest:
    """Write the index, then the manifest; what an interrupted call left of them is replaced.

    Temporary files of such a call, Zarr's and ours, stay, and are in no list of the manifest's files.

    Args:
        folder: where the levels stand.
        contents: what was given to :func:`write_levels`.
        clips: at least one.
        quarantine: ``name`` and ``reason`` of every video that was left out.
        shards: path inside the store to SHA-256.
    """
    if (folder / "clips").exists():
        shutil.rmtree(folder / "clips")
    group = zarr.open_group(folder, mode="r+")
    columns = zip(INDEX.items(), (clips.offsets, clips.frames, clips.labels), strict=True)
    arrays = {name: np.asarray(values, dtype) for (name, dtype), values in columns}
    arrays |= {attribute_name(name): np.asarray(values, np.int32) for name, values in clips.attributes.items()}
    for name, values in arrays.items():
        _write_array(group, f"clips/{name}", values)
    write_whole(folder / NAMES, to_json(list(clips.names)))
    write_whole(folder / QUARANTINE, to_json(list(quarantine)))
    files = {*(index_name(name) for name in arrays), NAMES, QUARANTINE, "zarr.json", "levels/zarr.json"}
    files |= {f"levels/{number}/zarr.json" for number in range(len(contents.levels))}
    files |= {str(path.relative_to(folder)) for path in (folder / "clips").rglob("zarr.json")}
    manifest = _manifest(contents, clips, {**shards, **{name: _digest(folder / name) for name in sorted(files)}})
    sync_tree(folder / "clips")
    sync(*(folder / "levels").iterdir(), folder / "levels")
    write_whole(folder / MANIFEST, manifest_bytes(manifest))
    return manifest


def _manifest(contents: Contents, clips: Clips, files: Mapping[str, str]) -> Manifest:
    manifest = Manifest(
        format=FORMAT,
        version=VERSION,
        settings=contents.settings,
        levels=contents.levels,
        clips=len(clips.names),
        frames=int(np.sum(clips.frames)),
        length=contents.length,
        classes=contents.classes,
        request=contents.request,
        made_with={name: importlib.metadata.version(name) for name in ("av", "numcodecs", "zarr")},
        files=files,
        fingerprint="",
        attributes=contents.attributes,
        seconds=round(sum(clips.seconds), 3) if all(clips.seconds) else None,
    )
    return manifest.signed()


def _write_array(group: zarr.Group, name: str, values: np.ndarray[Any, Any]) -> None:
    array = group.create_array(
        name,
        shape=values.shape,
        dtype=values.dtype,
        chunks=values.shape,
        compressors=_codecs("none"),
        fill_value=0,
        config={"write_empty_chunks": True},
    )
    array[:] = values


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _codecs(codec: Codec) -> tuple[Any, ...]:
    return (Crc32cCodec(),) if codec == "none" else (ZstdCodec(level=ZSTD_LEVEL), Crc32cCodec())
