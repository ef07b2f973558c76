"""Reading one shard of a level by its bytes, without zarr-python.

zarr-python reads a shard's index at every access, reads a missing shard as zeros, and must not be carried
across a fork. Here the index is read once, and whatever is missing or damaged is an error. A chunk is first
read by a call, which a failing disk or server makes an error and no crash, and its checksum computed; after
that it is copied from where the system has its file in memory, which is faster.
"""

from __future__ import annotations

import math
import mmap
import os
import threading
from pathlib import Path
from typing import Any, Literal, TypeAlias

import google_crc32c
import numpy as np
import numpy.typing as npt
from numcodecs.zstd import Zstd  # type: ignore[import-untyped]  # it ships no types

from datasets.base import Frames
from datasets.store import Codec

CRC_BYTES = 4
DESCRIPTORS = 2
"""Ours, and one that the mapping keeps."""

Verify: TypeAlias = Literal["first", "always", "never"]
"""When a chunk's checksum is computed: at the first use of the chunk, at each use, or not at all."""


Bytes: TypeAlias = npt.NDArray[np.uint8]


class ShardError(Exception):
    """A shard, or one of its chunks, is missing or damaged; ``str()`` says how, as a clause."""


def _unreadable(error: OSError) -> ShardError:
    return ShardError(f"cannot be read: {error.strerror}")


class _Scratch(threading.local):
    """Memory that a thread uses over and over: fresh memory costs about as much as what is read into it."""

    def __init__(self) -> None:
        self._buffers: dict[str, Bytes] = {}

    def take(self, use: str, size: int) -> Bytes:
        """``size`` bytes of any content, the same for each ``use`` until more are asked for."""
        if use not in self._buffers or len(self._buffers[use]) < size:
            self._buffers[use] = np.empty(size, np.uint8)
        return self._buffers[use][:size]


_scratch = _Scratch()


class Shard:
    """An open shard; it holds :data:`DESCRIPTORS` descriptors of its file.

    Args:
        path: its file.
        chunk: the shape ``(T, H, W, C)`` of an inner chunk.
        chunks: how many inner chunks a shard has room for.
        codec: how a chunk is compressed.
        verify: when checksums of chunks are computed; that of the shard's index always is, here.

    Raises:
        ShardError: the file is missing or cannot be read, or its index is not what was written.
    """

    def __init__(
        self, path: Path, chunk: tuple[int, int, int, int], chunks: int, codec: Codec, verify: Verify = "first"
    ) -> None:
        try:
            self._file = path.open("rb", buffering=0)
            self._descriptor = self._file.fileno()
            self._state = self._look()
            self._shape = chunk
            self._spans = self._read_index(chunks)
            self._mapped = np.frombuffer(mmap.mmap(self._descriptor, 0, access=mmap.ACCESS_READ), np.uint8)
        except FileNotFoundError:
            raise ShardError("is missing") from None
        except OSError as error:
            raise _unreadable(error) from None
        self._ordered = self._order() if codec == "none" else self._mapped[:0].reshape(0, *chunk)
        self._trusted = bytearray([verify == "never"]) * chunks
        self._always = verify == "always"
        self._raw = codec == "none"
        self._zstd = Zstd()

    def touched(self) -> bool:
        """Whether the file was written to, cut or deleted since it was opened."""
        return self._look() != self._state

    def read(self, start: int, out: Frames, step: int = 1) -> None:
        """Copy the shard's frames ``start``, ``start + step``, ... into ``out``, ``(T, H, W, C)``, contiguous.

        Raises:
            ShardError: one of the chunks that hold them is missing or damaged.
        """
        if step > 1 and self._scattered(start, out, step):
            return
        done, frames = 0, self._shape[0]
        while done < len(out):
            number, inside = divmod(start + done * step, frames)
            part = out[done : done + -(-(frames - inside) // step)]
            if step == 1 and self._raw and not self._trusted[number]:
                self._read_raw(number, inside, part)
            elif len(part) == frames and not self._raw:
                self._decode(number, part)
            else:
                part[:] = self.chunk(number)[inside::step][: len(part)]
            done += len(part)

    def _scattered(self, start: int, out: Frames, step: int) -> bool:
        """Copy frames from many chunks at once, if all are raw, in their order and sound already."""
        last = start + (len(out) - 1) * step
        first, stop = start // self._shape[0], last // self._shape[0] + 1
        if stop > len(self._ordered) or self._always or not all(self._trusted[first:stop]):
            return False
        chunks, inside = np.divmod(np.arange(start, last + 1, step), self._shape[0])
        np.copyto(out, self._ordered[chunks, inside])
        return True

    def chunk(self, number: int) -> Frames:
        """An inner chunk ``(T, H, W, C)``, not to be written to, and gone when the thread reads on.

        Raises:
            ShardError: it is missing or damaged.
        """
        if self._raw:
            return self._stored(number).reshape(self._shape)
        out = _scratch.take("frames", math.prod(self._shape)).reshape(self._shape)
        self._decode(number, out)
        return out

    def _decode(self, number: int, out: Frames) -> None:
        """Decompress a chunk into ``out``."""
        try:
            self._zstd.decode(self._stored(number), out.reshape(-1))
        except (RuntimeError, ValueError) as error:
            raise ShardError(f"is damaged: chunk {number} cannot be decompressed ({error})") from None

    def _stored(self, number: int) -> Bytes:
        """A chunk's bytes as they are in the file, without its checksum, which they match."""
        offset, size = self._span(number)
        if self._trusted[number]:
            stored = self._mapped[offset : offset + size]
        else:
            stored = _scratch.take("stored", size)
            self._fill(offset, stored)
        data = stored[:-CRC_BYTES]
        if self._always or not self._trusted[number]:
            self._check(number, google_crc32c.value(data), stored)
        return data

    def _read_raw(self, number: int, inside: int, out: Frames) -> None:
        """Frames of a raw chunk straight to where they are wanted, the rest of it aside, and its checksum."""
        offset, size = self._span(number)
        frame = out[0].nbytes
        before, after = np.split(_scratch.take("stored", size - out.nbytes), [inside * frame])
        self._fill(offset, before, out, after)
        value = google_crc32c.extend(google_crc32c.extend(google_crc32c.value(before), out), after[:-CRC_BYTES])
        self._check(number, value, after)

    def _check(self, number: int, value: int, stored: Bytes) -> None:
        """Hold a checksum against the one at the end of ``stored``."""
        if value != int.from_bytes(stored[-CRC_BYTES:].tobytes(), "little"):
            raise ShardError(f"is damaged: chunk {number} does not match its checksum")
        self._trusted[number] = True

    def _span(self, number: int) -> tuple[int, int]:
        """Where the chunk's bytes lie in the file, and how many they are, its checksum included."""
        offset, size = self._spans[number]
        raw = math.prod(self._shape) + CRC_BYTES
        if offset + size > self._state[0] or size <= CRC_BYTES or (self._raw and size != raw):
            raise ShardError(f"is damaged: chunk {number} is not in it")
        return offset, size

    def _fill(self, offset: int, *buffers: Bytes) -> None:
        into: list[Any] = list(buffers)  # numpy's types do not say that arrays are buffers
        try:
            count = os.preadv(self._descriptor, into, offset)
        except OSError as error:
            raise _unreadable(error) from None
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

    def _order(self) -> Frames:
        """The chunks that stand one after another from the file's beginning, mapped: ``(chunks, T, H, W, C)``."""
        size, count = math.prod(self._shape) + CRC_BYTES, 0
        while count < len(self._spans) and self._spans[count] == [count * size, size]:
            count += 1
        count = min(count, self._state[0] // size)
        strides = (size, *(math.prod(self._shape[axis:]) for axis in range(1, 5)))
        return np.ndarray((count, *self._shape), np.uint8, self._mapped[: count * size], strides=strides)

    def _look(self) -> tuple[int, int, int]:
        """Size, time of change and number of names of the file."""
        state = os.fstat(self._descriptor)
        return state.st_size, state.st_mtime_ns, state.st_nlink
