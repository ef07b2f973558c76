"""What stands at a store's place and beside it."""

import contextlib
import os
import shutil
from pathlib import Path

import pytest
from store_files import random_clips, write_store
from video_files import scene, write_video

from datasets import ClipStore
from datasets import ingest as ingest_module
from datasets import work as work_module
from datasets.disk import locked
from datasets.ingest import ingest
from datasets.options import IngestOptions
from datasets.place import Place
from datasets.runners import local
from datasets.sources.layouts import SourceFolder
from registry import InputError

OPTIONS = IngestOptions(size=16)


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """A folder of three videos."""
    folder = tmp_path_factory.mktemp("source") / "videos"
    folder.mkdir()
    for name in "abc":
        write_video(folder / f"{name}.mp4", scene(3))
    return folder


def _ingest(videos, path, options=OPTIONS, **more):
    return ingest(SourceFolder(videos), path, options, workers=1, **more)


def test_what_a_kill_left_beside_a_store_goes(videos, tmp_path):
    """An old store that was replaced, and what was half removed, is gone after the next call, and so is its lock."""
    path = tmp_path / "a.zarr"
    _ingest(videos, path)
    place = Place.of(path)
    shutil.copytree(path, place.replaced)
    place.doomed.mkdir()
    (place.doomed / "zarr.json").write_text("{}")
    place.lock.touch()
    assert not _ingest(videos, path).fresh
    assert [each.name for each in tmp_path.iterdir()] == ["a.zarr"]


def test_store_that_was_moved_away_comes_back(videos, tmp_path):
    """Killed between moving the old store away and putting the new one there, the old one stands again."""
    path = tmp_path / "a.zarr"
    _ingest(videos, path)
    path.rename(Place.of(path).replaced)
    with pytest.raises(InputError, match="another store stands here: size 16, not 8"):
        _ingest(videos, path, IngestOptions(size=8))
    assert ClipStore(str(path)).height == 16


def test_overwrite_beside_a_backup_of_ones_own(videos, tmp_path):
    """A folder STORE.old neither hinders a store's being replaced nor is it touched."""
    path = tmp_path / "a.zarr"
    _ingest(videos, path)
    shutil.copytree(path, tmp_path / "a.zarr.old")
    assert _ingest(videos, path, IngestOptions(size=8), overwrite=True).fresh
    assert ClipStore(str(path)).height == 8
    assert ClipStore(str(tmp_path / "a.zarr.old")).height == 16


def test_link_to_a_store(videos, tmp_path):
    """A store that is reached by a link is made, and replaced, where the link points; the link stays."""
    (tmp_path / "disk").mkdir()
    link = tmp_path / "a.zarr"
    link.symlink_to("disk/b.zarr")
    for size in (16, 8):
        assert _ingest(videos, link, IngestOptions(size=size), overwrite=True).fresh
        assert link.is_symlink()
        assert ClipStore(str(tmp_path / "disk/b.zarr")).height == size
    assert sorted(each.name for each in tmp_path.rglob("*.zarr*")) == ["a.zarr", "b.zarr"]


def test_store_that_appears_meanwhile_is_not_replaced(videos, tmp_path, monkeypatch):
    """A store that another process puts there just before ours takes the lock is refused as any other."""
    path = tmp_path / "a.zarr"

    @contextlib.contextmanager
    def late(lock):
        write_store(path, random_clips([4]))
        with locked(lock):
            yield

    monkeypatch.setattr(ingest_module, "locked", late)
    with pytest.raises(InputError, match="another store stands here"):
        _ingest(videos, path)
    assert len(ClipStore(str(path))) == 1


def test_removal_that_was_cut_short(videos, tmp_path, monkeypatch):
    """An unfinished store that was being removed when the process was killed is in nobody's way."""
    path = tmp_path / "a.zarr"

    def stop(jobs, on_video):
        raise KeyboardInterrupt
        yield

    def half(folder):
        (folder / "work").rename(tmp_path / "gone")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _ingest(videos, path, runner=stop)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("shutil.rmtree", half)
        _ingest(videos, path, IngestOptions(size=8), overwrite=True)
    shutil.rmtree(tmp_path / "gone")
    assert _ingest(videos, path).fresh
    assert [each.name for each in tmp_path.iterdir()] == ["a.zarr"]


def test_finished_store_of_another_kind_waits(videos, tmp_path):
    """A store that has its manifest but not its place is refused to another command, and given up when told to."""
    path = tmp_path / "a.zarr"
    _ingest(videos, path)
    path.rename(Place.of(path).partial)
    with pytest.raises(InputError, match=r"waits here: size 16, not 8; finish it with its own command"):
        _ingest(videos, path, IngestOptions(size=8))
    assert _ingest(videos, path, IngestOptions(size=8), overwrite=True).manifest.settings.height == 8


def test_unlisted_files_are_left_behind(tmp_path):
    """What a killed process left in an unfinished store, and is in no list of its files, is not in the store."""
    store = write_store(tmp_path / "a.zarr", random_clips([4]))
    place = Place.of(store.path)
    store.path.rename(place.partial)
    before = sorted(place.partial.rglob("*"))
    for name in (".names.json.7", "clips/zarr.1.partial", "levels/0/c/7/0/0/0", "work/done/0/1.json"):
        (place.partial / name).parent.mkdir(parents=True, exist_ok=True)
        (place.partial / name).write_text("")
    place.put()
    found = sorted(place.partial / path.relative_to(store.path) for path in store.path.rglob("*"))
    assert found == before


def test_everything_planned_is_on_the_disk(videos, tmp_path, monkeypatch):
    """When the plan is written down, all that it takes for granted has been brought to the disk before."""
    real, synced = os.fsync, set()

    def remember(descriptor):
        real(descriptor)
        synced.add(os.fstat(descriptor).st_ino)

    def look(folder, plan):
        there = [folder, *folder.rglob("*")]
        lost = [path for path in there if path.stat().st_ino not in synced]
        assert not lost
        assert folder / "levels/0/zarr.json" in there
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", remember)
    monkeypatch.setattr(work_module, "save_plan", look)
    with pytest.raises(KeyboardInterrupt):
        _ingest(videos, tmp_path / "a.zarr")


def test_going_on_from_another_folder(videos, tmp_path, monkeypatch):
    """A run begun with relative paths goes on from elsewhere with others that mean the same."""

    def one(jobs, on_video):
        raise KeyboardInterrupt
        yield

    monkeypatch.chdir(videos.parent)
    with pytest.raises(KeyboardInterrupt):
        _ingest(Path("videos"), Path(os.path.relpath(tmp_path / "a.zarr")), runner=one)
    monkeypatch.chdir(tmp_path)

    def resumed(jobs, on_video):
        monkeypatch.chdir("/")  # as a worker of a cluster, which is nowhere near
        return local(1)(jobs, on_video)

    source = Path(os.path.relpath(videos))
    assert _ingest(source, Path("a.zarr"), runner=resumed).manifest.clips == 3
    plan = _plan_of(videos, tmp_path)
    assert str(videos) not in plan.partition('"videos": [[')[2]


def _plan_of(videos, tmp_path):
    """The text of the plan of an unfinished store."""

    def stop(jobs, on_video):
        raise KeyboardInterrupt
        yield

    with pytest.raises(KeyboardInterrupt):
        _ingest(videos, tmp_path / "b.zarr", runner=stop)
    return (tmp_path / "b.zarr.partial/work/plan.json").read_text()
