"""Small stores to read, to damage and to compare."""

from pathlib import Path

import pytest
from store_files import random_clips, write_store


@pytest.fixture
def clips():
    """Clips that share shards, leave gaps, fill a shard exactly, and are longer than two."""
    return random_clips([5, 17, 20, 24, 60, 1, 8])


@pytest.fixture(params=["none", "zstd"])
def store(request, tmp_path, clips):
    """The clips in a store, with either codec."""
    return write_store(tmp_path / "clips.zarr", clips, codec=request.param)


@pytest.fixture
def flip():
    """A function that flips one bit of a file."""

    def flip_bit(path: Path, place: int) -> None:
        data = bytearray(path.read_bytes())
        data[place] ^= 1
        path.write_bytes(data)

    return flip_bit
