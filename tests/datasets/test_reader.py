"""Reading windows: right ones, and errors where data is missing or damaged."""

import hashlib
import multiprocessing
import pickle

import attrs
import numpy as np
import pytest
import torch
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_files import random_clips, write_store
from zarr.codecs import Crc32cCodec

from datasets import ClipStore, DamagedStoreError
from datasets.store import MANIFEST, Level, shard_name, to_json
from datasets.verify import verify
from registry.convert import unstructure


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_windows_equal_slices(store, clips, data):
    """Any window of any clip is the slice of what was written."""
    clip = data.draw(st.integers(0, len(clips) - 1))
    start = data.draw(st.integers(0, len(clips[clip]) - 1))
    frames = data.draw(st.integers(1, len(clips[clip]) - start))
    np.testing.assert_array_equal(store.window(clip, start, frames), clips[clip][start : start + frames])


def test_facts(store, clips):
    """The store tells lengths, labels, names, sizes and stride as they were written."""
    assert len(store) == len(clips)
    assert store.lengths().tolist() == [len(clip) for clip in clips] == [store.frames(i) for i in range(len(clips))]
    assert [store.label(clip) for clip in range(3)] == [0, 1, 0]
    assert store.name(2) == "video_2.mp4"
    assert (store.height, store.width, store.channels, store.stride) == (4, 6, 3, 2)
    assert store.classes == ("cat", "dog")


def test_no_labels(tmp_path):
    """Without classes a clip has no label."""
    store = write_store(tmp_path / "a.zarr", random_clips([4]), classes=None)
    assert store.classes is None
    assert store.label(0) is None


def test_windows_may_be_written_to(store, clips):
    """A window is a copy: writing to it changes neither the store nor the next window."""
    store.window(0, 0, 5)[:] = 0
    np.testing.assert_array_equal(store.window(0, 0, 5), clips[0])


def test_levels(tmp_path, clips):
    """A store may hold a smaller array beside the full one: its windows read by the same index."""
    store = write_store(tmp_path / "a.zarr", clips)
    group = zarr.open_group(store.path, mode="r+")
    half = group["levels/0"][:, ::2, ::2]
    array = group.create_array(
        "levels/1",
        shape=half.shape,
        dtype="uint8",
        chunks=(8, 2, 3, 3),
        shards=(24, 2, 3, 3),
        compressors=Crc32cCodec(),
    )
    array[:] = half
    files = {
        str(path.relative_to(store.path)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (store.path / "levels/1").rglob("*")
        if path.is_file()
    }
    levels = (*store.manifest.levels, Level(2, 3))
    manifest = attrs.evolve(store.manifest, levels=levels, files={**store.manifest.files, **files})
    manifest = attrs.evolve(manifest, fingerprint=manifest.digest())
    (store.path / MANIFEST).write_bytes(to_json(unstructure(manifest)))
    store = ClipStore(path=str(store.path))
    np.testing.assert_array_equal(store.window(4, 20, 30, level=1), clips[4][20:50, ::2, ::2])
    assert verify(store) == []
    with pytest.raises(IndexError, match="level 2 is none of the store's 2 levels"):
        store.window(0, 0, 1, level=2)


@pytest.mark.parametrize("window", [(0, 0, 6), (0, 5, 1), (0, -1, 2), (0, 0, 0), (7, 0, 1), (-1, 0, 1)])
def test_windows_outside_are_refused(store, window):
    """A window that its clip does not have, or of a clip that there is not, is an IndexError."""
    with pytest.raises(IndexError, match="clip"):
        store.window(*window)


def test_flipped_bit_is_an_error(store, clips, flip):
    """A flipped bit is an error that names shard and clip, in the clips of its chunk and in no others."""
    flip(store.path / shard_name(0, 0), 40)
    with pytest.raises(DamagedStoreError, match=r"levels/0/c/0/0/0/0: is damaged.*clip 0 \(video_0.mp4\)"):
        store.window(0, 0, 1)
    np.testing.assert_array_equal(store.window(2, 0, 20), clips[2])


def test_deleted_shard_is_an_error(store, clips):
    """A deleted shard is an error, never zeros; the other shards still read."""
    (store.path / shard_name(0, 1)).unlink()
    with pytest.raises(DamagedStoreError, match=r"levels/0/c/1/0/0/0: is missing.*clip 2 \(video_2.mp4\)"):
        store.window(2, 0, 3)
    np.testing.assert_array_equal(store.window(0, 0, 5), clips[0])


@pytest.mark.parametrize("keep", [0.0, 0.02, 0.5, 0.999])
def test_truncated_shard_is_an_error(store, keep):
    """A shard that is cut short, wherever, is an error that names it and the clip."""
    path = store.path / shard_name(0, 1)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(DamagedStoreError, match=r"levels/0/c/1/0/0/0: is (empty|cut short).*clip 2"):
        store.window(2, 0, 3)


def test_shard_of_another_store_is_noticed(tmp_path):
    """A whole shard of another store, all its chunks sound, is found by verifying."""
    one = write_store(tmp_path / "a.zarr", random_clips([20], seed=1))
    two = write_store(tmp_path / "b.zarr", random_clips([20], seed=2))
    (one.path / shard_name(0, 0)).write_bytes((two.path / shard_name(0, 0)).read_bytes())
    [damage] = verify(one)
    assert "differs, though" in damage.what


def test_verify_names_files_and_clips(store, flip):
    """Verifying finds nothing in a sound store, and in a damaged one each file with exactly its clips."""
    assert verify(store) == []
    flip(store.path / shard_name(0, 0), 40)
    (store.path / shard_name(0, 1)).unlink()
    (store.path / "names.json").write_text("[]")
    found = {damage.file: damage for damage in verify(store)}
    assert set(found) == {shard_name(0, 0), shard_name(0, 1), "names.json"}
    assert found[shard_name(0, 0)].clips == (0, 1)  # frames 0..7: clip 0 has five of them
    assert found[shard_name(0, 1)].clips == (2,)


def test_pickled_store_reads(store, clips):
    """A store that has been read from can be pickled, without what it has open, and reads on."""
    store.window(1, 0, 3)
    assert len(store.name(0)) > 0
    copy = pickle.loads(pickle.dumps(store))  # noqa: S301  # our own bytes
    np.testing.assert_array_equal(copy.window(1, 2, 9), clips[1][2:11])
    assert copy.name(1) == "video_1.mp4"


class _Windows(torch.utils.data.Dataset):
    def __init__(self, store):
        self.store = store

    def __len__(self):
        return len(self.store)

    def __getitem__(self, clip):
        return torch.from_numpy(self.store.window(clip, 0, 1))


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_loader_workers_read(tmp_path, clips, method):
    """Workers of a torch loader, spawned or forked after a first read, give what the parent would read."""
    store = write_store(tmp_path / "a.zarr", clips)
    store.window(0, 0, 1)
    loader = torch.utils.data.DataLoader(
        _Windows(store), num_workers=1, batch_size=None, multiprocessing_context=multiprocessing.get_context(method)
    )
    for clip, frame in zip(clips, loader, strict=True):
        np.testing.assert_array_equal(frame.numpy(), clip[:1])


def test_damage_in_a_worker_stays_one_line(tmp_path):
    """What a loader worker found damaged arrives in the parent as the same error, in one line."""
    store = write_store(tmp_path / "a.zarr", random_clips([4]))
    (store.path / shard_name(0, 0)).unlink()
    loader = torch.utils.data.DataLoader(_Windows(ClipStore(path=str(store.path))), num_workers=1, batch_size=None)
    with pytest.raises(DamagedStoreError) as caught:
        next(iter(loader))
    assert str(caught.value).startswith(str(store.path))
    assert str(caught.value).endswith("is missing; clip 0 (video_0.mp4) needs it")
