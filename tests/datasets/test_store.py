"""The store's format: what is written, what opening refuses."""

import json

import numpy as np
import pytest
import zarr
from store_files import random_clips, write_store

from datasets import ClipStore, DamagedStoreError
from datasets.store import MANIFEST, Settings, shard_name
from datasets.writer import StoreWriter
from registry import DATASETS, InputError, use


def test_zarr_reads_the_same(store, clips):
    """zarr-python itself finds every clip where the index says, and zeros in between."""
    group = zarr.open_group(store.path, mode="r")
    frames, offsets = group["levels/0"][:], group["clips/offset"][:]
    claimed = np.zeros(len(frames), bool)
    for clip, offset in zip(clips, offsets, strict=True):
        np.testing.assert_array_equal(frames[offset : offset + len(clip)], clip)
        assert not claimed[offset : offset + len(clip)].any()
        claimed[offset : offset + len(clip)] = True
    assert not frames[~claimed].any()
    np.testing.assert_array_equal(group["clips/frames"][:], [len(clip) for clip in clips])
    np.testing.assert_array_equal(group["clips/label"][:], np.arange(len(clips)) % 2)


def test_no_clip_straddles_a_shard(store, clips):
    """A clip lies in one shard, or starts at the beginning of one."""
    for offset, clip in zip(zarr.open_group(store.path, mode="r")["clips/offset"][:], clips, strict=True):
        assert offset // 24 == (offset + len(clip) - 1) // 24 or offset % 24 == 0


def test_uncompressed_shard_is_raw_frames(tmp_path):
    """The chunks of an uncompressed shard stand one after another as raw frames and four bytes each."""
    [clip] = random_clips([16])
    store = write_store(tmp_path / "raw.zarr", [clip])
    size = clip[:8].nbytes
    data = (store.path / shard_name(0, 0)).read_bytes()
    assert data[:size] == clip[:8].tobytes()
    assert data[size + 4 : 2 * size + 4] == clip[8:].tobytes()


def test_black_clip_is_stored(tmp_path):
    """A clip of zeros takes a shard like any other, so that its loss would be seen."""
    store = write_store(tmp_path / "black.zarr", [np.zeros((24, 4, 6, 3), np.uint8)])
    assert (store.path / shard_name(0, 0)).stat().st_size > 24 * 4 * 6 * 3
    assert not store.window(0, 0, 24).any()


def test_same_clips_same_bytes(tmp_path, clips):
    """Two stores of the same clips are equal byte for byte; another pixel gives another fingerprint."""
    one, two = write_store(tmp_path / "a.zarr", clips), write_store(tmp_path / "b.zarr", clips)
    files = sorted(path.relative_to(one.path) for path in one.path.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(two.path) for path in two.path.rglob("*") if path.is_file())
    assert all((one.path / name).read_bytes() == (two.path / name).read_bytes() for name in files)
    clips[3] = clips[3] ^ 1
    assert write_store(tmp_path / "c.zarr", clips).fingerprint != one.fingerprint


@pytest.mark.parametrize("name", ["video_0.mp4", "other"])
def test_nothing_stays_of_a_failed_write(tmp_path, name):
    """A writer that is left early leaves no file; the store that stood there before stays as it was."""
    before = write_store(tmp_path / "video.zarr", random_clips([4]))
    with pytest.raises(RuntimeError), StoreWriter(before.path, Settings.of(4, 6, 3, 1, "none"), None) as writer:
        writer.append(name, random_clips([9])[0])
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == ["video.zarr"]
    assert len(ClipStore(path=str(before.path)).window(0, 0, 4)) == 4


def test_left_over_partial_is_replaced(tmp_path):
    """What a killed run left of a store is no obstacle."""
    stale = tmp_path / "video.zarr.partial"
    (stale / "levels").mkdir(parents=True)
    (stale / "rubbish").write_text("")
    store = write_store(tmp_path / "video.zarr", random_clips([4]))
    assert not stale.exists()
    assert not (store.path / "rubbish").exists()


def test_one_writer_at_a_time(tmp_path):
    """A second writer of the same store is refused while the first is at work."""
    settings = Settings.of(4, 6, 3, 1, "none")
    with StoreWriter(tmp_path / "a.zarr", settings, None) as writer:
        with pytest.raises(InputError, match="another process is writing"):
            StoreWriter(tmp_path / "a.zarr", settings, None)
        writer.append("kept", random_clips([3])[0])
        writer.finish({})
    assert len(ClipStore(path=str(tmp_path / "a.zarr"))) == 1


def test_foreign_partial_folder_is_not_touched(tmp_path):
    """A folder that merely has the name of an unfinished store is left alone."""
    (tmp_path / "a.zarr.partial").mkdir()
    (tmp_path / "a.zarr.partial" / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match="in the way"):
        StoreWriter(tmp_path / "a.zarr", Settings.of(4, 6, 3, 1, "none"), None)
    assert (tmp_path / "a.zarr.partial" / "thesis.tex").exists()


def test_opening_refuses_what_is_no_store(tmp_path):
    """A missing path, a folder of something else, an unfinished store and another version each get their error."""
    with pytest.raises(InputError, match=r"path.*there is no such store"):
        DATASETS.build(use("ClipStore", path=str(tmp_path / "none.zarr")))
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="not a clip store"):
        ClipStore(path=str(tmp_path / "folder"))
    store = write_store(tmp_path / "a.zarr", random_clips([4]))
    manifest = store.path / MANIFEST
    data = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(data | {"version": 99}))
    with pytest.raises(InputError, match=r"format version 99.*allowed: 3"):
        ClipStore(path=str(store.path))
    manifest.write_text(json.dumps(data | {"format": "other"}))
    with pytest.raises(InputError, match="not a clip store"):
        ClipStore(path=str(store.path))
    manifest.unlink()
    with pytest.raises(InputError, match="unfinished"):
        ClipStore(path=str(store.path))


def test_edited_manifest_is_noticed(tmp_path):
    """A manifest any value of which was edited, one that says more, or that was cut short, is damaged."""
    store = write_store(tmp_path / "a.zarr", random_clips([4]))
    manifest = store.path / MANIFEST
    text = manifest.read_text()
    held = json.loads(text)
    for name, value in held.items():
        if name in ("format", "version"):
            continue
        other = value + 1 if isinstance(value, int) else [*value, "x"] if isinstance(value, list) else {"av": "1"}
        manifest.write_text(json.dumps(held | {name: other}))
        with pytest.raises(DamagedStoreError, match=r"manifest\.json: does not match its own checksum"):
            ClipStore(path=str(store.path))
    manifest.write_text(json.dumps(held | {"more": 1}))
    with pytest.raises(DamagedStoreError, match="its own checksum"):
        ClipStore(path=str(store.path))
    manifest.write_text(json.dumps(held))  # the same in other words
    assert len(ClipStore(path=str(store.path))) == 1
    manifest.write_text(text[:-20])
    with pytest.raises(DamagedStoreError, match="not JSON"):
        ClipStore(path=str(store.path))


def test_damaged_index_is_noticed(tmp_path, flip):
    """A flipped bit in the index of clips, or a missing part of it, is damage that names the file."""
    store = write_store(tmp_path / "a.zarr", random_clips([4, 5]))
    flip(store.path / "clips/offset/c/0", 8)
    with pytest.raises(DamagedStoreError, match="clips/offset/c/0: does not match"):
        ClipStore(path=str(store.path))
    (store.path / "clips/offset/c/0").unlink()
    with pytest.raises(DamagedStoreError, match="clips/offset/c/0: is missing"):
        ClipStore(path=str(store.path))


def test_append_refuses_other_shapes(tmp_path):
    """Frames of another size or type, or none, are a fault of the caller."""
    with StoreWriter(tmp_path / "a.zarr", Settings.of(4, 6, 3, 1, "none"), None) as writer:
        for frames in (np.zeros((3, 4, 5, 3), np.uint8), np.zeros((3, 4, 6, 3)), np.zeros((0, 4, 6, 3), np.uint8)):
            with pytest.raises(ValueError, match="a clip is uint8"):
                writer.append("bad", frames)
        with pytest.raises(ValueError, match="needs a clip"):
            writer.finish({})
