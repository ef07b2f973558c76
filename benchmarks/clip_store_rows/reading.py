"""Random windows from the store, against other readers of the same bytes in the same process."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from types import ModuleType

import numpy as np
import zarr

from datasets import ClipStore
from datasets.store import Codec

from clip_store_rows.data import FRAMES, WINDOW, Data
from clip_store_rows.measuring import MissingError, Ratio, compare


def memmap(data: Data, runs: int) -> Ratio:
    """Against copying the same windows out of a mapped file of nothing but frames."""
    array = data.memmap()

    def copy(clip: int, start: int) -> np.ndarray:
        first = clip * FRAMES + start
        return np.array(array[first : first + WINDOW])

    store = data.store()
    _same(data, store, copy)
    return compare(data.each(reader(store)), data.each(copy), runs)


def memmap_first(data: Data, runs: int) -> Ratio:
    """The same when each shard is opened anew, so that every chunk is checked and no page is mapped yet."""
    array, store = data.memmap(), data.store()

    def copy(clip: int, start: int) -> np.ndarray:
        first = clip * FRAMES + start
        return np.array(array[first : first + WINDOW])

    def once() -> None:
        store.close()
        data.each(reader(store))()

    return compare(once, data.each(copy), runs)


def zarr_python(data: Data, runs: int) -> Ratio:
    """Against zarr-python's own indexing of the same store."""
    store = data.store()
    array = zarr.open_group(store.path, mode="r")["levels/0"]
    return _against(data, store, lambda first: array[first : first + WINDOW], runs)


def tensorstore(codec: Codec) -> Callable[[Data, int], Ratio]:
    """Against tensorstore on the same store, as it comes: it may use every core."""

    def measure(data: Data, runs: int) -> Ratio:
        ts = _tensorstore()
        store = data.store(codec)
        spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(store.path / "levels" / "0")}}
        array = ts.open(spec, read=True).result()
        return _against(data, store, lambda first: array[first : first + WINDOW].read().result(), runs)

    return measure


def verification(data: Data, runs: int) -> Ratio:
    """The checksum of each chunk at each use, against no checksums."""
    always, never = data.store(verify="always"), data.store(verify="never")
    return compare(data.each(reader(always)), data.each(reader(never)), runs)


def reader(store: ClipStore) -> Callable[[int, int], object]:
    """Reading a window from ``store``."""
    return lambda clip, start: store.window(clip, start, WINDOW)


def _against(data: Data, store: ClipStore, read: Callable[[int], np.ndarray], runs: int) -> Ratio:
    """``store`` against what reads by the number of a window's first frame in the array."""
    offsets = zarr.open_group(store.path, mode="r")["clips/offset"][:]

    def other(clip: int, start: int) -> np.ndarray:
        return read(int(offsets[clip]) + start)

    _same(data, store, other)
    return compare(data.each(reader(store)), data.each(other), runs)


def _same(data: Data, store: ClipStore, read: Callable[[int, int], np.ndarray]) -> None:
    """Both ways give the same frames."""
    for clip, start in data.starts[:5]:
        np.testing.assert_array_equal(store.window(clip, start, WINDOW), read(clip, start))


def _tensorstore() -> ModuleType:
    if importlib.util.find_spec("tensorstore") is None:
        raise MissingError("tensorstore is not installed")
    return importlib.import_module("tensorstore")
