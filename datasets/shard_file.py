"""Writing one shard of a level, as Zarr's sharding codec lays it out."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import BinaryIO

import google_crc32c
import numpy as np
import numpy.typing as npt
from numcodecs.zstd import Zstd  # type: ignore[import-untyped]  # it ships no types

from datasets.base import Frames
from datasets.store import Settings

ZSTD_LEVEL = 3
ABSENT = 2**64 - 1
"""Offset and size of a chunk that the shard does not hold."""


def write_shard(path: Path, frames: Frames, settings: Settings) -> str:
    """Write a shard and bring it to the disk.

    Args:
        path: of the file; its folder is there.
        frames: uint8 ``(T, H, W, C)``, T at most ``shard_frames``; the last chunk is filled up with zeros.
        settings: of the store; the frames may have another height and width.

    Returns:
        The file's SHA-256.
    """
    zstd = Zstd(level=ZSTD_LEVEL) if settings.codec == "zstd" else None
    chunk_frames = settings.chunk_frames
    spans = np.full((settings.shard_frames // chunk_frames, 2), ABSENT, "<u8")
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for number, start in enumerate(range(0, len(frames), chunk_frames)):
            chunk = _chunk(frames[start : start + chunk_frames], chunk_frames)
            data = chunk.reshape(-1) if zstd is None else np.frombuffer(zstd.encode(chunk), np.uint8)
            spans[number] = file.tell(), len(data) + 4
            _write(file, digest, data)
        _write(file, digest, spans.reshape(-1).view(np.uint8))
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest()


def shard_bytes(frames: int, frame_bytes: int, settings: Settings) -> int:
    """Size of an uncompressed shard that holds ``frames`` frames of ``frame_bytes`` bytes."""
    chunks = -(-frames // settings.chunk_frames)
    room = settings.shard_frames // settings.chunk_frames
    return chunks * (settings.chunk_frames * frame_bytes + 4) + 16 * room + 4


def _chunk(frames: Frames, chunk_frames: int) -> Frames:
    if len(frames) == chunk_frames:
        return np.ascontiguousarray(frames)
    return np.concatenate([frames, np.zeros((chunk_frames - len(frames), *frames.shape[1:]), np.uint8)])


def _write(file: BinaryIO, digest: hashlib._Hash, data: npt.NDArray[np.uint8]) -> None:
    """Write ``data`` and its CRC32C."""
    crc: int = google_crc32c.value(data)
    for part in (data.data, crc.to_bytes(4, "little")):
        digest.update(part)
        file.write(part)
