"""Stores written shard by shard, by anybody, from wherever they were left off."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets import ClipStore, shard_writer
from datasets.packing import Packer
from datasets.place import Place
from datasets.shard_writer import SHARDS, EvenClips, ShardWriter
from datasets.store import SHARD_BYTES, shard_name
from datasets.verify import survey, verify
from datasets.writer import StoreWriter
from registry import InputError

CLASSES = ("a", "b", "c")
EVEN = EvenClips.of(130, (5, 4, 6, 3), 2, 2)  # 33 shards of 4 clips, the last of 2
CLIPS = np.random.default_rng(0).integers(0, 256, (130, 5, 4, 6, 3), np.uint8)
LABELS = [clip % 3 for clip in range(130)]
NAMES = [f"clip {clip}" for clip in range(130)]
REQUEST = {"of": "a test"}


def writer(path: Path, **changes) -> ShardWriter:
    """What writes the store at ``path``."""
    return ShardWriter(path, changes.get("even", EVEN), CLASSES, changes.get("request", REQUEST))


def write(store: ShardWriter, shards) -> None:
    """Write some shards."""
    for shard in shards:
        store.write(shard, CLIPS[list(store.even.clips_of(shard))].reshape(-1, 4, 6, 3))


def flip(file: Path) -> None:
    """Change a bit of a file."""
    data = file.read_bytes()
    file.write_bytes(bytes([data[0] ^ 1]) + data[1:])


def interrupted(*_) -> None:
    """In place of a step."""
    raise KeyboardInterrupt


def written(path: Path) -> ClipStore:
    """The store at ``path``, written in one go from its last shard to its first."""
    store = writer(path)
    with store.held():
        write(store, reversed(store.begin()))
        store.finish(NAMES, LABELS)
    return ClipStore(str(path))


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A store that nothing befell. Copy it before touching it."""
    path = tmp_path_factory.mktemp("whole") / "whole.zarr"
    written(path)
    return path


def test_it_is_the_store_of_the_other_writer(whole, tmp_path):
    """The same clips, one after another by the writer of a whole store, give the same manifest, digests and all."""
    with StoreWriter(tmp_path / "other.zarr", EVEN.settings, CLASSES) as other:
        for name, clip, label in zip(NAMES, CLIPS, LABELS, strict=True):
            other.append(name, clip, label)
        manifest = other.finish(REQUEST)
    store = ClipStore(str(whole))
    assert store.manifest == manifest
    assert all(np.array_equal(store.window(clip, 0, 5), CLIPS[clip]) for clip in range(130))
    assert verify(store) == survey(store) == []
    assert [path.name for path in whole.parent.iterdir()] == ["whole.zarr"]


@given(
    st.integers(1, 400),
    st.tuples(st.integers(1, 40), *[st.sampled_from([1, 4, 64, 1024])] * 2, st.just(3)),
    st.integers(1, 20),
)
def test_clips_lie_as_they_are_packed(clips, shape, batch):
    """Whole clips in each shard, where the packer of other stores puts them, in files no larger than theirs.

    Shards are whole batches where one fits, and there are as many as can share the work.
    """
    even = EvenClips.of(clips, shape, 1, batch)
    assert [clip for shard in range(even.shards) for clip in even.clips_of(shard)] == list(range(clips))
    frames, frame = shape[0], shape[1] * shape[2] * shape[3]
    assert even.settings.shard_frames % even.settings.chunk_frames == 0
    if even.per_shard == even.settings.shard_frames // frames:
        packer = Packer(even.settings.shard_frames)
        assert [even.offset(clip) for clip in range(clips)] == [packer.place(frames) for _ in range(clips)]
    for clip in range(clips):
        first = even.offset(clip) // even.settings.shard_frames
        assert first == (even.offset(clip) + frames - 1) // even.settings.shard_frames
        assert clip in even.clips_of(first)
    assert even.per_shard == 1 or even.per_shard * frames * frame <= SHARD_BYTES
    if batch * frames * frame <= SHARD_BYTES:
        assert even.per_shard % batch == 0
    assert even.per_shard < clips / SHARDS + batch


@settings(max_examples=10, deadline=None)
@given(st.data())
def test_an_unfinished_store_is_carried_on(whole, tmp_path_factory, data):
    """Of shards that are whole, cut, changed, gone, or of no or a bad note, the whole ones stay; the end is equal."""
    path = tmp_path_factory.mktemp("unfinished") / "store.zarr"
    store, partial = writer(path), path.with_name("store.zarr.partial")
    state = data.draw(
        st.lists(
            st.sampled_from(["whole", "cut", "changed", "no note", "bad note", "gone", ""]), min_size=33, max_size=33
        )
    )
    with store.held():
        assert store.begin() == list(range(33))
        write(store, [shard for shard, what in enumerate(state) if what])
        for shard, what in enumerate(state):
            file = partial / shard_name(0, shard)
            if what == "cut":
                file.write_bytes(file.read_bytes()[:-1])
            elif what == "changed":
                flip(file)
            elif what == "no note":
                (partial / "work" / f"{shard}.sha256").unlink()
            elif what == "bad note":
                (partial / "work" / f"{shard}.sha256").write_bytes(b"\xff\xfe")
            elif what == "gone":
                file.unlink()
    again = writer(path)
    with again.held():
        missing = again.begin()
        assert missing == [shard for shard, what in enumerate(state) if what != "whole"]
        write(again, missing)
        again.finish(NAMES, LABELS)
    assert ClipStore(str(path)).manifest == ClipStore(str(whole)).manifest
    assert verify(ClipStore(str(path))) == []
    assert [each.name for each in path.parent.iterdir()] == ["store.zarr"]


@pytest.mark.parametrize("killed", [None, (ShardWriter, "_start"), (shard_writer, "write_whole"), (Place, "discard")])
def test_a_damaged_store_is_carried_on(whole, tmp_path, killed):
    """Its sound shards are moved to the unfinished one, also when the move was broken off; index and names are new."""
    path = Path(shutil.copytree(whole, tmp_path / "store.zarr"))
    flip(path / shard_name(0, 3))
    (path / "names.json").write_text("[]")
    store = writer(path)
    if killed:
        with pytest.MonkeyPatch.context() as patch, store.held(), pytest.raises(KeyboardInterrupt):
            patch.setattr(*killed, interrupted)
            store.begin()
    with store.held():
        assert store.begin() == [3]
        assert not path.exists()
        write(store, [3])
        store.finish(NAMES, LABELS)
    assert ClipStore(str(path)).manifest == ClipStore(str(whole)).manifest
    assert verify(ClipStore(str(path))) == []


def test_a_refusal_changes_nothing(whole, tmp_path):
    """Who is told how much is missing may refuse; the damaged store is as it was."""
    path = Path(shutil.copytree(whole, tmp_path / "store.zarr"))
    (path / shard_name(0, 0)).unlink()
    (path / shard_name(0, 7)).unlink()
    before = sorted(tmp_path.rglob("*"))
    told = []

    def refuse(missing):
        told.append(missing)
        raise InputError("no room")

    store = writer(path)
    with store.held(), pytest.raises(InputError, match="no room"):
        store.begin(refuse)
    assert told == [[0, 7]]
    assert sorted(tmp_path.rglob("*")) == before


def test_of_another_store_nothing_is_taken(whole, tmp_path):
    """Of something else, or laid out otherwise, all shards are to be written; the old store stands until then."""
    for change in ({"request": {"of": "another"}}, {"even": EvenClips.of(130, (5, 4, 6, 3), 2, 5)}):
        path = Path(shutil.copytree(whole, tmp_path / f"{len(change)}{next(iter(change))}.zarr"))
        store = writer(path)
        (path / shard_name(0, 0)).unlink()
        with store.held():
            assert store.begin() == [0]  # now unfinished
        other = writer(path, **change)
        with other.held():
            assert other.begin() == list(range(other.even.shards))
        path = Path(shutil.copytree(whole, path))
        with other.held():
            assert other.begin() == list(range(other.even.shards))
            write(other, range(other.even.shards))
            assert ClipStore(str(path)).manifest == ClipStore(str(whole)).manifest
            other.finish(NAMES, LABELS)
        assert ClipStore(str(path)).manifest.request == change.get("request", REQUEST)


def test_something_else_is_in_the_way(tmp_path):
    """A folder of other things where the unfinished store is to be is refused, and kept."""
    partial = tmp_path / "store.zarr.partial"
    partial.mkdir()
    (partial / "letter.txt").write_text("dear")
    store = writer(tmp_path / "store.zarr")
    with store.held(), pytest.raises(InputError, match="this folder is in the way; it is no unfinished store"):
        store.begin()
    assert (partial / "letter.txt").read_text() == "dear"


def test_survey_finds_what_is_not_there(whole, tmp_path):
    """A missing and a cut shard are found with their clips; a changed byte is not, since no chunk is read."""
    path = Path(shutil.copytree(whole, tmp_path / "store.zarr"))
    (path / shard_name(0, 1)).unlink()
    cut = path / shard_name(0, 32)
    cut.write_bytes(cut.read_bytes()[:-1])
    flip(path / shard_name(0, 5))
    found = survey(ClipStore(str(path)))
    assert [(each.file, each.clips) for each in found] == [
        (shard_name(0, 1), (4, 5, 6, 7)),
        (shard_name(0, 32), (128, 129)),
    ]
    assert [each.what.partition(":")[0] for each in found] == ["is missing", "is cut short or damaged"]
