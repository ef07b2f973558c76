"""Reading one shard of a level by mapping its file, without zarr-python.

zarr-python reads a shard's index at every access, reads a missing shard as zeros, and must not be carried
across a fork. Here the index is read once, every chunk is checked before its first use, and whatever is
missing is an error.
"""

from __future__ import annotations

import mmap
from pathlib import Path

import google_crc32c
import numpy as np
from numcodecs.zstd import Zstd  # type: ignore[import-untyped]  # it ships no types

from datasets.base import Frames
from datasets.store import Codec

CRC_BYTES = 4


class ShardError(Exception):
    """A shard, or one of its chunks, is missing or damaged; ``str()`` says how, as a clause."""


class Shard:
    """An open shard.

    Args:
        path: its file.
        chunk: the shape ``(T, H, W, C)`` of an inner chunk.
        chunks: how many inner chunks a shard has room for.
        codec: how a chunk is compressed.

    Raises:
        ShardError: the file is missing, or its index is not what was written.
    """

    def __init__(self, path: Path, chunk: tuple[int, int, int, int], chunks: int, codec: Codec) -> None:
        self._shape = chunk
        self._bytes = _map(path)
        tail = self._bytes[-(16 * chunks + CRC_BYTES) :]
        if len(tail) < 16 * chunks + CRC_BYTES or not _sound(tail):
            raise ShardError("is cut short or damaged: its index does not match its checksum")
        self._spans: list[list[int]] = np.frombuffer(tail[:-CRC_BYTES], "<u8").reshape(chunks, 2).tolist()
        self._checked = bytearray(chunks)
        self._zstd = Zstd() if codec == "zstd" else None

    def read(self, start: int, out: Frames) -> None:
        """Copy the shard's frames from ``start`` on into ``out``, ``(T, H, W, C)``.

        Raises:
            ShardError: one of the chunks that hold them is damaged.
        """
        done = 0
        while done < len(out):
            number, inside = divmod(start + done, self._shape[0])
            frames = self.chunk(number)[inside : inside + len(out) - done]
            out[done : done + len(frames)] = frames
            done += len(frames)

    def chunk(self, number: int) -> Frames:
        """An inner chunk ``(T, H, W, C)``, read-only; its checksum is computed the first time.

        Raises:
            ShardError: it is missing or damaged.
        """
        offset, size = self._spans[number]
        stored = self._bytes[offset : offset + size]
        if not self._checked[number]:
            if len(stored) <= CRC_BYTES or len(stored) < size or not _sound(stored):
                raise ShardError(f"is damaged: chunk {number} does not match its checksum")
            self._checked[number] = True
        data = stored[:-CRC_BYTES]
        if self._zstd is not None:
            data = np.frombuffer(self._zstd.decode(data), np.uint8)
        return data.reshape(self._shape)


def _map(path: Path) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    try:
        with path.open("rb") as file:
            return np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)
    except FileNotFoundError:
        raise ShardError("is missing") from None
    except ValueError:
        raise ShardError("is empty") from None


def _sound(data: np.ndarray[tuple[int], np.dtype[np.uint8]]) -> bool:
    """Whether ``data`` ends with the CRC32C of what stands before it."""
    crc: int = google_crc32c.value(data[:-CRC_BYTES])
    return crc == int.from_bytes(data[-CRC_BYTES:].tobytes(), "little")
