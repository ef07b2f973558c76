"""Ingestion that is ended at any moment and goes on."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from video_files import scene, write_video

from datasets import ClipStore
from datasets.disk import locked
from datasets.ingest import ingest
from datasets.options import IngestOptions
from datasets.runners import local
from datasets.sources.layouts import SourceFolder
from datasets.verify import verify
from registry import InputError

ROOT = Path(__file__).parents[2]
SIZE = 128
"""At which a shard has room for 1360 frames."""


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Videos that fill four shards: one too long for one, several that share one, one of them broken."""
    folder = tmp_path_factory.mktemp("source") / "videos"
    folder.mkdir()
    for name, frames in {"a": 700, "b": 600, "c": 1500, "d": 900, "e": 40, "f": 800}.items():
        write_video(folder / f"{name}.mp4", scene(frames, 16, 16), options={"movflags": "faststart"})
    broken = folder / "e.mp4"
    broken.write_bytes(broken.read_bytes()[:-300])
    return folder


@pytest.fixture(scope="module")
def whole(videos, tmp_path_factory):
    """The store of an ingestion that nobody disturbed."""
    path = tmp_path_factory.mktemp("whole") / "a.zarr"
    ingest(SourceFolder(videos), path, IngestOptions(size=SIZE), workers=1, max_broken=0.5)
    return path


def _bytes(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _command(videos, store):
    arguments = [videos, store, "--size", SIZE, "--max-broken", 0.5, "--workers", 2]
    return [sys.executable, str(ROOT / "tools" / "ingest.py"), *map(str, arguments)]


def test_broken_video_leaves_a_gap(whole):
    """The clips around a broken one lie where they would without its being broken; its place is zeros."""
    store = ClipStore(path=str(whole))
    assert [store.name(clip) for clip in range(len(store))] == ["a.mp4", "b.mp4", "c.mp4", "d.mp4", "f.mp4"]
    assert store.lengths().tolist() == [700, 600, 1500, 900, 800]
    assert verify(store) == []


def test_killed_at_random_moments(videos, whole, tmp_path):
    """Killed again and again, then left alone, the command ends in the same bytes."""
    chance = random.Random(0)  # noqa: S311  # no secret
    store = tmp_path / "a.zarr"
    for _ in range(5):
        process = subprocess.Popen(_command(videos, store), stderr=subprocess.DEVNULL, start_new_session=True)
        time.sleep(chance.uniform(0.5, 3.5))
        # Now the parent alone, now all its processes, as a machine that goes down.
        (os.killpg if chance.random() < 0.5 else os.kill)(process.pid, signal.SIGKILL)
        process.wait()
    subprocess.run(_command(videos, store), check=True, capture_output=True)
    assert _bytes(store) == _bytes(whole)
    assert {path.name for path in tmp_path.iterdir()} == {"a.zarr"}


def test_finished_shards_are_not_decoded_again(videos, whole, tmp_path):
    """When a run fails half-way, what it finished needs its videos no more."""
    source, store = tmp_path / "videos", tmp_path / "a.zarr"
    source.mkdir()
    for video in videos.iterdir():
        (source / video.name).write_bytes(video.read_bytes())
    options = IngestOptions(size=SIZE)
    arguments = (SourceFolder(source), store, options)

    def stop_after_one(jobs, on_video):
        for number, note in local(1)(jobs, on_video):
            yield number, note
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ingest(*arguments, runner=stop_after_one, max_broken=0.5)
    data = (source / "a.mp4").read_bytes()
    (source / "a.mp4").write_bytes(b"\0" * len(data))  # of the first shard, which is done
    shard = tmp_path / "a.zarr.partial/levels/0/c/0/0/0/0"
    before = shard.stat()
    ingest(*arguments, workers=1, max_broken=0.5)
    after = (store / "levels/0/c/0/0/0/0").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert _bytes(store) == _bytes(whole)


@pytest.mark.parametrize("lost", ["levels/0/c/0/0/0/0", "work/done/0000/0000000.json"])
def test_lost_part_is_made_again(videos, whole, tmp_path, lost):
    """When a finished shard or the note on it is gone, that part is made again."""
    store = tmp_path / "a.zarr"

    def lose(jobs, on_video):
        yield from local(1)(jobs[:2], on_video)
        (tmp_path / "a.zarr.partial" / lost).unlink()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ingest(SourceFolder(videos), store, IngestOptions(size=SIZE), runner=lose, max_broken=0.5)
    ingest(SourceFolder(videos), store, IngestOptions(size=SIZE), workers=1, max_broken=0.5)
    assert _bytes(store) == _bytes(whole)


def test_second_ingest_is_refused(videos, tmp_path):
    """While a store is being written, another ingestion into it is refused, and the first one is not disturbed."""
    store = tmp_path / "a.zarr"
    process = subprocess.Popen(_command(videos, store), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    lock = tmp_path / "a.zarr.lock"
    while not lock.exists() and process.poll() is None:
        time.sleep(0.01)
    done = subprocess.run(_command(videos, store), capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == f"error: {lock}: another process is writing this store\n"
    assert process.wait() == 0
    assert len(ClipStore(path=str(store))) == 5


def test_left_over_lock_is_no_obstacle(videos, tmp_path):
    """The lock file of a killed process holds nobody up; a held one does."""
    lock = tmp_path / "a.zarr.lock"
    lock.touch()
    with locked(lock), pytest.raises(InputError, match="another process"), locked(lock, shared=True):
        pass
    assert not lock.exists()


def test_other_settings_do_not_touch_an_unfinished_store(videos, tmp_path):
    """An unfinished store belongs to its command; another one is refused, or told to replace it."""
    store = tmp_path / "a.zarr"

    def stop(jobs, on_video):
        raise KeyboardInterrupt
        yield

    with pytest.raises(KeyboardInterrupt):
        ingest(SourceFolder(videos), store, IngestOptions(size=SIZE), runner=stop, max_broken=0.5)
    with pytest.raises(InputError, match=r"size 128, not 16; .*--overwrite"):
        ingest(SourceFolder(videos), store, IngestOptions(size=16), workers=1, max_broken=0.5)
    done = ingest(SourceFolder(videos), store, IngestOptions(size=16), workers=1, max_broken=0.5, overwrite=True)
    assert done.manifest.settings.height == 16
    assert [path.name for path in tmp_path.iterdir()] == ["a.zarr"]


def test_ended_before_the_renaming(videos, whole, tmp_path):
    """A store that has its manifest but not yet its place is put there without decoding anything."""
    subprocess.run(["cp", "-r", whole, tmp_path / "a.zarr.partial"], check=True)
    (tmp_path / "a.zarr.partial" / "work").mkdir()

    def never(jobs, on_video):
        raise AssertionError

    options = IngestOptions(size=SIZE)
    assert ingest(SourceFolder(videos), tmp_path / "a.zarr", options, runner=never, max_broken=0.5).fresh
    assert _bytes(tmp_path / "a.zarr") == _bytes(whole)


@pytest.fixture
def disk(tmp_path):
    """A small disk of its own, where tests may mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=100m", "tmpfs", disk]
    if os.geteuid() or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("needs to be allowed to mount a file system")
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_full_disk(videos, whole, disk):
    """A disk without room is told before; one that fills up midway ends the run, which goes on with room."""
    done = subprocess.run(_command(videos, disk / "a.zarr"), capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "are still to be written, and 105 MB are free" in done.stderr.splitlines()[-1]
    subprocess.run(["mount", "-o", "remount,size=250m", disk], check=True)
    process = subprocess.Popen(_command(videos, disk / "a.zarr"), stderr=subprocess.PIPE, text=True)
    while not list((disk / "a.zarr.partial").glob("work/scratch/*")) and process.poll() is None:
        time.sleep(0.01)
    subprocess.run(["dd", "if=/dev/zero", f"of={disk}/ballast", "bs=1M"], capture_output=True, check=False)
    _, errors = process.communicate()
    assert process.returncode == 2
    assert errors.splitlines()[-1].startswith(f"error: {disk}/a.zarr.partial")
    assert errors.splitlines()[-1].endswith("No space left on device")
    (disk / "ballast").unlink()
    subprocess.run(_command(videos, disk / "a.zarr"), check=True, capture_output=True)
    assert _bytes(disk / "a.zarr") == _bytes(whole)


def test_read_only_target(videos, disk):
    """A disk that may not be written to is one line, and nothing else happens."""
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    done = subprocess.run(_command(videos, disk / "a.zarr"), capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == f"error: {disk}/a.zarr.lock: Read-only file system\n"


def test_source_that_disappears_is_no_broken_video(videos, tmp_path):
    """A video that cannot be read any more ends the run, which goes on when it is back; nothing is blamed on it."""
    source, store = tmp_path / "videos", tmp_path / "a.zarr"
    source.mkdir()
    for name in ("a", "b"):
        (source / f"{name}.mp4").write_bytes((videos / f"{name}.mp4").read_bytes())

    def unplug(jobs, on_video):
        (source / "b.mp4").rename(tmp_path / "b.mp4")
        yield from local(1)(jobs, on_video)

    with pytest.raises(FileNotFoundError) as caught:
        ingest(SourceFolder(source), store, IngestOptions(size=SIZE), runner=unplug)
    assert caught.value.filename == str(source / "b.mp4")
    (tmp_path / "b.mp4").rename(source / "b.mp4")
    assert ingest(SourceFolder(source), store, IngestOptions(size=SIZE), workers=1).manifest.clips == 2
    assert json.loads((store / "quarantine.json").read_text()) == []
