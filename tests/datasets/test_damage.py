"""Stores whose files cannot be read, or are another store's."""

import multiprocessing
import pickle
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from store_files import random_clips, write_store

from datasets import ClipStore, DamagedStoreError
from datasets import reader as reader_module
from datasets.store import MANIFEST, shard_name
from datasets.verify import verify

ROOT = Path(__file__).parents[2]


@pytest.fixture
def replaced(tmp_path):
    """A store of two shards that was opened, whose first shard is read from, and in whose place another now stands."""
    clips = random_clips([24, 24], seed=1)
    store = write_store(tmp_path / "a.zarr", clips)
    np.testing.assert_array_equal(store.window(0, 0, 24), clips[0])
    write_store(tmp_path / "a.zarr", random_clips([24, 24], seed=2))
    return store


@pytest.mark.parametrize("clip", [0, 1])
def test_store_that_was_replaced(replaced, clip):
    """No window, of a shard that was open or of another, comes from the store that took the place of the opened one."""
    with pytest.raises(DamagedStoreError, match=r"a\.zarr: was replaced or removed since it was opened"):
        replaced.window(clip, 0, 3)
    with pytest.raises(DamagedStoreError, match="was replaced"):
        pickle.loads(pickle.dumps(replaced)).window(clip, 0, 3)  # noqa: S301  # our own bytes


def test_names_of_a_replaced_store(tmp_path):
    """What is read late beside the frames is not taken from another store either, and is not called damaged."""
    store = write_store(tmp_path / "a.zarr", random_clips([4]))
    write_store(tmp_path / "a.zarr", random_clips([4, 4]))
    with pytest.raises(DamagedStoreError, match="was replaced"):
        store.name(0)


def test_replaced_before_a_worker_opens(replaced):
    """A store that is carried into a spawned process is held against what it was when it was opened."""
    with multiprocessing.get_context("spawn").Pool(1) as pool, pytest.raises(DamagedStoreError, match="was replaced"):
        pool.apply(replaced.window, (1, 0, 3))


def test_same_store_in_another_file(tmp_path):
    """A store whose files were copied, moved or touched, and are the same, reads on."""
    clips = random_clips([24, 24])
    store = write_store(tmp_path / "a.zarr", clips)
    store.window(0, 0, 3)
    for path in (store.path / MANIFEST, store.path / shard_name(0, 0)):
        data = path.read_bytes()
        path.unlink()
        path.write_bytes(data)
    for clip in range(2):
        np.testing.assert_array_equal(store.window(clip, 0, 24), clips[clip])


def test_shard_that_is_a_folder(store):
    """A shard that is there and cannot be read is damage that names it and the clip, for reading and verifying."""
    path = store.path / shard_name(0, 0)
    path.unlink()
    path.mkdir()
    with pytest.raises(
        DamagedStoreError, match=r"0/0/0/0: cannot be read: Is a directory; clip 0 \(video_0.mp4\) needs"
    ):
        store.window(0, 0, 1)
    [damage] = verify(store)
    assert (damage.file, damage.what, damage.clips) == (shard_name(0, 0), "cannot be read: Is a directory", (0, 1))


def test_no_descriptors_left(tmp_path, monkeypatch):
    """A shard for which the process has no descriptor left is an error that names it, not the system's own."""
    store = write_store(tmp_path / "a.zarr", random_clips([24] * 20))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len([*Path("/proc/self/fd").iterdir()]) + 10, hard))
    try:
        with pytest.raises(DamagedStoreError, match=r"/0/0/0: cannot be read: Too many open files; clip \d+"):
            for clip in range(20):
                store.window(clip, 0, 1)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_damaged_names_hide_nothing(store):
    """With the names damaged as well, an error still says which shard and which clip by its number."""
    (store.path / "names.json").write_text("[]")
    (store.path / shard_name(0, 0)).unlink()
    with pytest.raises(DamagedStoreError, match="levels/0/c/0/0/0/0: is missing; clip 0 needs it"):
        store.window(0, 0, 1)


@pytest.mark.parametrize("name", ["clips/offset/c/0", MANIFEST])
def test_index_that_cannot_be_read(store, name):
    """A part of the index that is no file is damage that names it."""
    path = store.path / name
    if name == MANIFEST:
        real = Path.read_bytes

        def fail(self):
            if self == path:
                raise OSError(5, "Input/output error")
            return real(self)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Path, "read_bytes", fail)
            with pytest.raises(DamagedStoreError, match=f"{name}: cannot be read: Input/output error"):
                ClipStore(str(store.path))
        return
    path.unlink()
    path.mkdir()
    with pytest.raises(DamagedStoreError, match=f"{name}: cannot be read: Is a directory"):
        ClipStore(str(store.path))


def test_two_stores_at_the_usual_limit(tmp_path):
    """Two stores of many shards are read side by side by a process that may have 1024 files, as most may."""
    for name in "ab":
        write_store(tmp_path / f"{name}.zarr", random_clips([8] * 300), shard_frames=8)
    code = (
        "import sys; from datasets import ClipStore\n"
        "stores = [ClipStore(path) for path in sys.argv[1:]]\n"
        "print(sum(int(store.window(clip, 0, 1)[0, 0, 0, 0]) for clip in range(300) for store in stores))"
    )
    paths = [str(tmp_path / f"{name}.zarr") for name in "ab"]
    limit = ["bash", "-c", 'ulimit -n 1024; exec "$0" "$@"', sys.executable, "-c", code, *paths]
    done = subprocess.run(limit, capture_output=True, text=True, check=False, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")
    expected = sum(int(clip[0, 0, 0, 0]) for clip in random_clips([8] * 300))
    assert int(done.stdout) == 2 * expected


def test_shards_kept_open(monkeypatch):
    """The more files a process may have, the more shards a store keeps open, up to a point."""
    for limit, expected in ((256, 32), (1024, 128), (10**6, 256), (resource.RLIM_INFINITY, 256)):
        monkeypatch.setattr(resource, "getrlimit", lambda _, limit=limit: (limit, limit))
        assert reader_module.open_shards() == expected
