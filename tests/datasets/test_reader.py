"""Reading windows: right ones, and errors where data is missing or damaged."""

import errno
import hashlib
import multiprocessing
import os
import pickle
from concurrent.futures import ThreadPoolExecutor

import attrs
import numpy as np
import pytest
import torch
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_files import random_clips, write_store
from zarr.codecs import Crc32cCodec, ZstdCodec

from datasets import ClipStore, DamagedStoreError
from datasets.store import MANIFEST, Level, manifest_bytes, shard_name
from datasets.verify import verify
from registry import InputError


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


def add_half_level(store):
    """The store with every second pixel of its frames as level 1, written by zarr-python."""
    settings = store.settings
    group = zarr.open_group(store.path, mode="r+")
    half = group["levels/0"][:, ::2, ::2]
    array = group.create_array(
        "levels/1",
        shape=half.shape,
        dtype="uint8",
        chunks=(settings.chunk_frames, 2, 3, 3),
        shards=(settings.shard_frames, 2, 3, 3),
        compressors=(Crc32cCodec(),) if settings.codec == "none" else (ZstdCodec(), Crc32cCodec()),
        fill_value=0,
        config={"write_empty_chunks": True},
    )
    array[:] = half
    files = {
        str(path.relative_to(store.path)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (store.path / "levels/1").rglob("*")
        if path.is_file()
    }
    levels = (*store.manifest.levels, Level(2, 3, "nearest space=2"))
    manifest = attrs.evolve(store.manifest, levels=levels, files={**store.manifest.files, **files})
    (store.path / MANIFEST).write_bytes(manifest_bytes(manifest.signed()))
    return ClipStore(str(store.path))


def test_levels(store, clips):
    """A store may hold a smaller array beside the full one: its windows read by the same index."""
    store = add_half_level(store)
    assert store.levels == ("", "nearest space=2")
    np.testing.assert_array_equal(store.window(4, 20, 30, level=1), clips[4][20:50, ::2, ::2])
    np.testing.assert_array_equal(store.window(4, 20, 30, 0), store.window(4, 20, 30))
    assert verify(store) == []
    with pytest.raises(IndexError, match="level 2 is none of the store's 2 levels"):
        store.window(0, 0, 1, level=2)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), verify=st.sampled_from(["first", "always", "never"]))
def test_strides_equal_slices(store, clips, data, verify):
    """Every n-th frame, of either level, the first time and again, with or without a place to write to."""
    if len(store.levels) == 1:
        store.__dict__.update(vars(add_half_level(store)))
    reader = ClipStore(str(store.path), verify=verify)
    for _ in range(4):
        clip = data.draw(st.sampled_from([2, 4, 6]))
        start = data.draw(st.integers(0, len(clips[clip]) - 1))
        step, level = data.draw(st.integers(1, 20)), data.draw(st.integers(0, 1))
        frames = data.draw(st.integers(1, (len(clips[clip]) - 1 - start) // step + 1))
        expected = clips[clip][start::step, :: level + 1, :: level + 1][:frames]
        out = np.empty_like(expected, order="C") if data.draw(st.booleans()) else None
        found = reader.strided(clip, start, frames, step, level, out)
        np.testing.assert_array_equal(found, expected)
        assert out is None or found is out


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


@pytest.mark.parametrize("level", [0, 1])
@pytest.mark.parametrize("fault", ["deleted", "flipped", "cut", "grown"])
def test_faults_of_an_open_shard_are_noticed(store, clips, flip, level, fault):
    """What happens to a shard after it was read from is an error at the next read, in every level."""
    store = add_half_level(store)
    expected = clips[0][:, :: level + 1, :: level + 1]
    np.testing.assert_array_equal(store.window(0, 0, 5, level), expected)
    path = store.path / shard_name(level, 0)
    data = path.read_bytes()
    if fault == "deleted":
        path.unlink()
    elif fault == "flipped":
        flip(path, 3)
    else:
        path.write_bytes(data[:-1] if fault == "cut" else data + b"x")
    for frames, step in ((5, 1), (2, 3)):
        with pytest.raises(
            DamagedStoreError, match=rf"levels/{level}/c/0/0/0/0: is (missing|damaged|cut).*video_0.mp4"
        ):
            store.strided(0, 0, frames, step, level)
    path.write_bytes(data)
    np.testing.assert_array_equal(store.window(0, 0, 5, level), expected)


def test_a_failing_disk_is_an_error(store, monkeypatch):
    """What the system cannot read is damage that names shard and clip, and says why."""

    def fail(*arguments):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("os.preadv", fail)
    with pytest.raises(DamagedStoreError, match=r"0/0/0/0: cannot be read: Input/output error; clip 0 \(video_0.mp4\)"):
        store.window(0, 0, 1)


def test_verifying_always_and_never(store, clips, flip):
    """Without verification a flipped bit of a raw chunk is read as it is; verified each time it is found."""
    path = store.path / shard_name(0, 0)
    always, never = (ClipStore(str(store.path), verify=how) for how in ("always", "never"))
    np.testing.assert_array_equal(always.window(0, 0, 5), clips[0])
    np.testing.assert_array_equal(never.window(0, 0, 5), clips[0])
    state = path.stat()
    flip(path, 3)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))  # as if the disk had lost it by itself
    with pytest.raises(DamagedStoreError, match="does not match its checksum"):
        always.window(0, 0, 5)
    if store.settings.codec == "none":
        assert (never.window(0, 0, 5) != clips[0]).sum() == 1


def test_threads_read_side_by_side(store, clips):
    """Several threads, reading the same shards for the first time, each get their own windows."""
    places = [(clip, start) for clip in (2, 3, 4) for start in range(15)] * 6

    def read(place):
        return store.window(place[0], place[1], 5)

    with ThreadPoolExecutor(4) as threads:
        for (clip, start), found in zip(places, threads.map(read, places), strict=True):
            np.testing.assert_array_equal(found, clips[clip][start : start + 5])


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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"verify": "alway"},
            "verify: 'alway' is not allowed; allowed: first, always, never; did you mean 'always'?",
        ),
        ({"verify": True}, "verify: True is not allowed; allowed: first, always, never"),
        ({"short": "skp"}, "short: 'skp' is not allowed; allowed: error, skip; did you mean 'skip'?"),
    ],
)
def test_arguments_of_the_store(store, arguments, message):
    """A word that is none of those allowed is refused with them and the nearest one."""
    with pytest.raises(InputError) as caught:
        ClipStore(str(store.path), **arguments)
    assert str(caught.value) == message
    with pytest.raises(InputError, match="path: 5 is not allowed"):
        ClipStore(5)


@pytest.mark.parametrize("clip", [-1, 7, 10**30])
@pytest.mark.parametrize("ask", ["frames", "label", "name", "window", "strided"])
def test_clips_that_there_are_not(store, ask, clip):
    """Whatever is asked of it, a clip that there is not is refused alike; none is counted from the end."""
    arguments = {"window": (0, 1), "strided": (0, 1, 1)}.get(ask, ())
    with pytest.raises(IndexError) as caught:
        getattr(store, ask)(clip, *arguments)
    assert str(caught.value) == f"clip {clip} is none of the 7 clips; allowed: 0 to 6"
    assert isinstance(caught.value, InputError)


@pytest.mark.parametrize(
    ("ask", "arguments", "message"),
    [
        ("frames", (1.0,), "clip: 1.0 is not a whole number; allowed: 0 to 6"),
        ("label", ("1",), "clip: '1' is not a whole number; allowed: 0 to 6"),
        ("name", (True,), "clip: True is not a whole number; allowed: 0 to 6"),
        ("window", (0, 0.5, 1), "start: 0.5 is not a whole number; allowed: 0 to 4"),
        ("window", (0, 0, "3"), "frames: '3' is not a whole number; allowed: 1 to 5"),
        ("window", (0, 0, 1, True), "level: True is not a whole number; allowed: 0 (the frames as they are)"),
        ("window", (0, 0, 1, "x"), "level: 'x' is not a whole number; allowed: 0 (the frames as they are)"),
        ("strided", (0, 0, 1, 0), "step: 0 is not allowed; allowed: int, at least 1"),
        ("strided", (0, 0, 1, 1.5), "step: 1.5 is not a whole number; allowed: int, at least 1"),
    ],
)
def test_arguments_of_another_kind(store, ask, arguments, message):
    """What is no whole number is one line that says which argument, and what is allowed."""
    with pytest.raises(InputError) as caught:
        getattr(store, ask)(*arguments)
    assert str(caught.value) == message


def test_level_by_its_name(store):
    """A level that is named by its view is refused with the number that is meant."""
    store = add_half_level(store)
    with pytest.raises(InputError, match=r"1 \(nearest space=2\); did you mean '1'\?"):
        store.window(0, 0, 1, "nearest space=2")


def test_numbers_of_numpy(store, clips):
    """NumPy's whole numbers are numbers."""
    window = store.strided(np.int64(2), np.uint8(1), np.int32(3), np.int64(2), np.int64(0))
    np.testing.assert_array_equal(window, clips[2][1:7:2])
    assert store.frames(np.int64(2)) == len(clips[2])
