"""From videos to a store."""

import json

import numpy as np
import pytest
from video_files import scene, write_video

from datasets import ClipStore, SyntheticClips
from datasets.decode import decode
from datasets.ingest import ingest
from datasets.options import IngestOptions
from datasets.sources.folder import list_folder
from datasets.sources.layouts import SourceFolder
from datasets.sources.synthetic import write_synthetic
from datasets.verify import verify
from registry import InputError

OPTIONS = IngestOptions(size=16)


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """A folder of six synthetic videos in four classes."""
    folder = tmp_path_factory.mktemp("source") / "videos"
    write_synthetic(folder, SyntheticClips(clips=6, frames=9))
    return folder


def _run(folder, store, options=OPTIONS, **more):
    return ingest(SourceFolder(folder), store, options, workers=1, **more)


def _bytes(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_store_holds_the_videos(videos, tmp_path):
    """Frames, labels and names are those of the videos in sorted order, and near what was drawn."""
    done = ingest(SourceFolder(videos), tmp_path / "new" / "a.zarr", IngestOptions(size=32, stride=2), workers=2)
    assert done.fresh
    store = ClipStore(path=str(tmp_path / "new" / "a.zarr"))
    dataset = SyntheticClips(clips=6, frames=9)
    drawn = {f"{dataset.name(clip)}.mp4": clip for clip in range(6)}
    assert [store.name(clip) for clip in range(6)] == sorted(drawn)
    assert store.classes == ("circle", "cross", "square", "triangle")
    assert store.stride == 2
    for clip in range(6):
        original = drawn[store.name(clip)]
        assert store.label(clip) == dataset.label(original)
        np.testing.assert_array_equal(store.window(clip, 0, 5), decode(videos / store.name(clip), 32, 2))
        assert abs(store.window(clip, 0, 5) - dataset.window(original, 0, 9)[::2].astype(int)).mean() < 5
    assert verify(store) == []


def test_same_again_is_the_same(videos, tmp_path):
    """Two ingestions, with one worker and with two, are equal byte for byte."""
    _run(videos, tmp_path / "a.zarr")
    ingest(SourceFolder(videos), tmp_path / "b.zarr", OPTIONS, workers=2)
    assert _bytes(tmp_path / "a.zarr") == _bytes(tmp_path / "b.zarr")


def test_running_again_does_nothing(videos, tmp_path):
    """With the same videos and settings the store is left as it is."""
    _run(videos, tmp_path / "a.zarr")
    before = (tmp_path / "a.zarr" / "manifest.json").stat()
    done = _run(videos, tmp_path / "a.zarr")
    assert not done.fresh
    after = (tmp_path / "a.zarr" / "manifest.json").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_another_store_is_not_replaced_unasked(videos, tmp_path):
    """Other settings are refused with their names and values; told to, the store is replaced."""
    _run(videos, tmp_path / "a.zarr")
    before = _bytes(tmp_path / "a.zarr")
    options = IngestOptions(size=8, codec="zstd")
    with pytest.raises(InputError, match=r"size 16, not 8; codec 'none', not 'zstd'; .*--overwrite"):
        _run(videos, tmp_path / "a.zarr", options)
    assert _bytes(tmp_path / "a.zarr") == before
    assert _run(videos, tmp_path / "a.zarr", options, overwrite=True).fresh
    assert ClipStore(path=str(tmp_path / "a.zarr")).height == 8
    assert [path.name for path in tmp_path.iterdir()] == ["a.zarr"]


def test_other_videos_are_noticed(tmp_path):
    """One more video makes it another source."""
    write_video(tmp_path / "in_a.mp4", scene(2))
    _run(tmp_path, tmp_path / "a.zarr")
    write_video(tmp_path / "in_b.mp4", scene(2))
    with pytest.raises(InputError, match="videos 1, not 2; other videos"):
        _run(tmp_path, tmp_path / "a.zarr")


@pytest.mark.parametrize("overwrite", [False, True])
def test_what_is_no_store_is_never_replaced(videos, tmp_path, overwrite):
    """A folder or a file of something else is safe, even with overwrite."""
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("years of work")
    for place in (tmp_path / "home", tmp_path / "home" / "thesis.tex"):
        with pytest.raises(InputError, match="no clip store stands here"):
            _run(videos, place, overwrite=overwrite)
    assert (tmp_path / "home" / "thesis.tex").read_text() == "years of work"


def test_unfinished_store_is_told(videos, tmp_path):
    """A store without its manifest is named unfinished, and replaced when told to."""
    _run(videos, tmp_path / "a.zarr")
    (tmp_path / "a.zarr" / "manifest.json").unlink()
    with pytest.raises(InputError, match="unfinished"):
        _run(videos, tmp_path / "a.zarr")
    assert _run(videos, tmp_path / "a.zarr", overwrite=True).fresh


def test_broken_videos_are_listed(tmp_path, capsys):
    """Broken and short videos are left out, told on stderr and listed in the store; the others are there."""
    for name in ("a", "d", "f"):
        write_video(tmp_path / f"{name}.mp4", scene(4))
    (tmp_path / "b.mp4").write_bytes(b"")
    (tmp_path / "c.mp4").write_text("<html>404</html>" * 100)
    (tmp_path / "e.mp4").write_bytes((tmp_path / "a.mp4").read_bytes()[:-400])
    write_video(tmp_path / "g.mp4", scene(2))
    done = _run(tmp_path, tmp_path / "s.zarr", IngestOptions(size=16, min_frames=3), max_broken=0.5)
    store = ClipStore(path=str(tmp_path / "s.zarr"))
    assert [store.name(clip) for clip in range(len(store))] == ["a.mp4", "d.mp4", "f.mp4"]
    np.testing.assert_array_equal(store.window(1, 0, 4), decode(tmp_path / "d.mp4", 16))
    assert done.left_out == 4
    listed = json.loads((store.path / "quarantine.json").read_text())
    assert [each["name"] for each in listed] == ["b.mp4", "c.mp4", "e.mp4", "g.mp4"]
    assert listed[3]["reason"] == "has 2 frames at stride 1, fewer than 3"
    errors = capsys.readouterr().err
    assert all(f"left out: {tmp_path / each['name']}: {each['reason']}" in errors for each in listed)


def test_too_many_broken_fail(tmp_path):
    """More broken videos than allowed end the run; nothing stands at the store's place but the list of them."""
    write_video(tmp_path / "a.mp4", scene(2))
    (tmp_path / "b.mp4").write_bytes(b"")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(InputError, match="--max-broken: 1 of 2 videos"):
        _run(tmp_path, tmp_path / "s.zarr")
    report = tmp_path / "s.zarr.quarantine.json"
    assert sorted(tmp_path.iterdir()) == sorted([*before, report])
    assert [each["name"] for each in json.loads(report.read_text())] == ["b.mp4"]


def test_nothing_left_fails(tmp_path):
    """When every video is left out there is no store."""
    write_video(tmp_path / "a.mp4", scene(2))
    with pytest.raises(InputError, match="all 1 videos were left out"):
        _run(tmp_path, tmp_path / "s.zarr", IngestOptions(size=16, min_frames=3))
    assert not (tmp_path / "s.zarr").exists()


def test_flat_folder_has_no_classes(tmp_path):
    """Videos right in the folder have no labels; other and hidden files are passed over."""
    write_video(tmp_path / "one.MP4", scene(2))
    (tmp_path / "readme.txt").write_text("about")
    (tmp_path / "._one.mp4").write_text("a Mac's note")
    source = list_folder(tmp_path)
    assert source.classes is None
    assert [(video.name, video.label) for video in source.videos] == [("one.MP4", None)]


def test_linked_class_folder_is_followed(tmp_path):
    """A class whose folder is a link is a class."""
    (tmp_path / "elsewhere").mkdir()
    write_video(tmp_path / "elsewhere" / "a.mp4", scene(2))
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "cat").symlink_to(tmp_path / "elsewhere")
    assert list_folder(tmp_path / "source").classes == ("cat",)


def test_folders_that_cannot_be_read_as_classes(tmp_path):
    """No folder, no videos, videos beside classes, and videos too deep are errors that say what is allowed."""
    with pytest.raises(InputError, match="no such folder"):
        list_folder(tmp_path / "none")
    with pytest.raises(InputError, match=r"no videos in it; allowed: files \*\.avi"):
        list_folder(tmp_path)
    (tmp_path / "cat" / "deep").mkdir(parents=True)
    (tmp_path / "cat" / "a.mp4").write_bytes(b"x")
    (tmp_path / "b.mp4").write_bytes(b"x")
    with pytest.raises(InputError, match=r"such as b\.mp4, beside them"):
        list_folder(tmp_path)
    (tmp_path / "cat" / "deep" / "c.mp4").write_bytes(b"x")
    with pytest.raises(InputError, match=r"cat/deep/c\.mp4 lies too deep"):
        list_folder(tmp_path)
