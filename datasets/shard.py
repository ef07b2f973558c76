"""Reading one shard of a level by its bytes, without zarr-python.

zarr-python reads a shard's index at every access, reads a missing shard as zeros, and must not be carried
across a fork. Here the index is read once, and whatever is missing or damaged is an error. Frames are
copied by the system from its page cache straight to where they are wanted. A mapped file would be no
faster, and an error of the disk or a file that was cut short meanwhile would kill the process.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal, TypeAlias

import google_crc32c
import numpy as np
import numpy.typing as npt
from numcodecs.zstd import Zstd  # type: ignore[import-untyped]  # it ships no types

from datasets.base import Frames
from datasets.store import Codec

CRC_BYTES = 4
SPARSE_BYTES = 2**15
"""From this many bytes between two wanted frames on, each is read by itself: a call costs less than copying them."""

Verify: TypeAlias = Literal["first", "always", "never"]
"""When a chunk's checksum is computed: at the first use of the chunk by this process, at each, or not at all."""


class ShardError(Exception):
    """A shard, or one of its chunks, is missing or damaged; ``str()`` says how, as a clause."""


class Shard:
    """An open shard.

    Args:
        path: its file.
        chunk: the shape ``(T, H, W, C)`` of an inner chunk.
        chunks: how many inner chunks a shard has room for.
        codec: how a chunk is compressed.
        verify: when checksums of chunks are computed; that of the shard's index always is, here.

    Raises:
        ShardError: the file is missing, or its index is not what was written.
    """

    def __init__(
        self, path: Path, chunk: tuple[int, int, int, int], chunks: int, codec: Codec, verify: Verify = "first"
    ) -> None:
        try:
            self._file = path.open("rb", buffering=0)
        except FileNotFoundError:
            raise ShardError("is missing") from None
        self._descriptor = self._file.fileno()
        self._state = self._look()
        self._shape = chunk
        self._frame_bytes = chunk[1] * chunk[2] * chunk[3]
        self._spans = self._read_index(chunks)
        self._always = verify == "always"
        self._checked = bytearray([verify == "never"]) * chunks
        self._zstd = Zstd() if codec == "zstd" else None

    def touched(self) -> bool:
        """Whether the file was written to, cut or deleted since it was opened."""
        return self._look() != self._state

    def read(self, start: int, out: Frames, step: int = 1) -> None:
        """Copy the shard's frames ``start``, ``start + step``, ... into ``out``, ``(T, H, W, C)``, contiguous.

        Raises:
            ShardError: one of the chunks that hold them is missing or damaged.
        """
        done = 0
        while done < len(out):
            number, inside = divmod(start + done * step, self._shape[0])
            part = out[done : done + -(-(self._shape[0] - inside) // step)]
            if self._zstd is not None or (step > 1 and not self._trusts(number)):
                part[:] = self.chunk(number)[inside::step][: len(part)]
            elif self._trusts(number):
                self._copy(number, inside, step, part)
            else:
                self._copy_checked(number, inside, part)
            done += len(part)

    def chunk(self, number: int) -> Frames:
        """An inner chunk ``(T, H, W, C)``.

        Raises:
            ShardError: it is missing or damaged.
        """
        offset, size = self._span(number)
        stored = np.empty(size, np.uint8)
        self._fill(offset, stored)
        data = stored[:-CRC_BYTES]
        if not self._trusts(number):
            self._check(number, google_crc32c.value(data), stored[-CRC_BYTES:].tobytes())
        if self._zstd is not None:
            data = np.frombuffer(self._zstd.decode(data), np.uint8)
        return data.reshape(self._shape)

    def _copy(self, number: int, inside: int, step: int, out: Frames) -> None:
        """Frames of a chunk whose checksum is not asked for."""
        start = self._span(number)[0] + inside * self._frame_bytes
        if step == 1:
            self._fill(start, out)
        elif (step - 1) * self._frame_bytes >= SPARSE_BYTES:
            for place, frame in enumerate(out):
                self._fill(start + place * step * self._frame_bytes, frame)
        else:
            whole = np.empty(((len(out) - 1) * step + 1, *self._shape[1:]), np.uint8)
            self._fill(start, whole)
            out[:] = whole[::step]

    def _copy_checked(self, number: int, inside: int, out: Frames) -> None:
        """Frames of a raw chunk, and its checksum: the whole chunk is read, what is not wanted to a side."""
        offset, _ = self._span(number)
        before = np.empty(inside * self._frame_bytes, np.uint8)
        after = np.empty((self._shape[0] - inside - len(out)) * self._frame_bytes, np.uint8)
        crc = np.empty(CRC_BYTES, np.uint8)
        self._fill(offset, before, out, after, crc)
        value = google_crc32c.extend(google_crc32c.extend(google_crc32c.value(before), out), after)
        self._check(number, value, crc.tobytes())

    def _trusts(self, number: int) -> bool:
        return self._checked[number] == 1 and not self._always

    def _check(self, number: int, value: int, stored: bytes) -> None:
        if value != int.from_bytes(stored, "little"):
            raise ShardError(f"is damaged: chunk {number} does not match its checksum")
        self._checked[number] = 1

    def _span(self, number: int) -> tuple[int, int]:
        """Where the chunk's bytes lie in the file, and how many they are, its checksum included."""
        offset, size = self._spans[number]
        raw = self._shape[0] * self._frame_bytes + CRC_BYTES
        if offset + size > self._state[0] or size <= CRC_BYTES or (self._zstd is None and size != raw):
            raise ShardError(f"is damaged: chunk {number} is not in it")
        return offset, size

    def _fill(self, offset: int, *buffers: npt.NDArray[np.uint8]) -> None:
        into: list[Any] = list(buffers)  # numpy's types do not say that arrays are buffers
        try:
            count = os.preadv(self._descriptor, into, offset)
        except OSError as error:
            raise ShardError(f"cannot be read: {error.strerror}") from None
        if count != sum(buffer.nbytes for buffer in buffers):
            raise ShardError("is cut short")

    def _read_index(self, chunks: int) -> list[list[int]]:
        """Offset and size of every chunk, from the end of the file."""
        size = 16 * chunks + CRC_BYTES
        if not self._state[0]:
            raise ShardError("is empty")
        tail = os.pread(self._descriptor, size, max(0, self._state[0] - size))
        if len(tail) < size or google_crc32c.value(tail[:-CRC_BYTES]) != int.from_bytes(tail[-CRC_BYTES:], "little"):
            raise ShardError("is cut short or damaged: its index does not match its checksum")
        spans: list[list[int]] = np.frombuffer(tail[:-CRC_BYTES], "<u8").reshape(chunks, 2).tolist()
        return spans

    def _look(self) -> tuple[int, int, int]:
        """Size, time of change and number of names of the file."""
        state = os.fstat(self._descriptor)
        return state.st_size, state.st_mtime_ns, state.st_nlink
