"""Ingestion in shares, as a Slurm array does it, and on a Dask cluster."""

import shutil
import subprocess
import sys
import threading
from collections import namedtuple
from pathlib import Path

import pytest
from video_files import scene, write_video

from datasets import ClipStore, shares
from datasets.disk import locked
from datasets.ingest import ingest
from datasets.options import IngestOptions
from datasets.runners import dask
from datasets.shares import Share, ingest_share, merge_shares
from datasets.sources.layouts import SourceFolder
from registry import InputError

ROOT = Path(__file__).parents[2]
OPTIONS = IngestOptions(size=128, stride=2)


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Videos that fill three shards, and a broken one."""
    folder = tmp_path_factory.mktemp("source") / "videos"
    folder.mkdir()
    for name, frames in {"a": 1400, "b": 1700, "c": 2000, "d": 30}.items():
        write_video(folder / f"{name}.mp4", scene(frames, 16, 16))
    (folder / "d.mp4").write_bytes((folder / "d.mp4").read_bytes()[:300])
    return SourceFolder(folder)


@pytest.fixture(scope="module")
def whole(videos, tmp_path_factory):
    """The store that one process makes."""
    path = tmp_path_factory.mktemp("whole") / "a.zarr"
    ingest(videos, path, OPTIONS, workers=1, max_broken=0.5)
    return _bytes(path)


def _bytes(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _share(videos, path, index, count=3):
    return ingest_share(videos, path, OPTIONS, Share(index, count), workers=1, max_broken=0.5)


def test_last_share_merges(videos, whole, tmp_path):
    """Shares in any order, one of them twice, make the same store; the last one to be done merges."""
    path = tmp_path / "a.zarr"
    assert _share(videos, path, 2) is None
    assert _share(videos, path, 2) is None
    assert _share(videos, path, 0) is None
    assert _share(videos, path, 1).fresh
    assert _bytes(path) == whole
    assert not _share(videos, path, 0).fresh
    assert [each.name for each in tmp_path.iterdir()] == ["a.zarr"]


def test_shares_at_once(videos, whole, tmp_path):
    """Shares that start together plan once, and one of them merges."""
    command = [sys.executable, str(ROOT / "tools/ingest.py"), str(videos.path), str(tmp_path / "a.zarr")]
    command += ["--stride", "2", "--max-broken", "0.5", "--workers", "1", "--task-count", "3", "--task-index"]
    running = [subprocess.Popen([*command, str(index)], stderr=subprocess.DEVNULL) for index in range(3)]
    assert [process.wait() for process in running] == [0, 0, 0]
    assert _bytes(tmp_path / "a.zarr") == whole


def test_merge_says_what_is_missing(videos, whole, tmp_path):
    """Merging too early names the shares to run again; other writers are refused while a share is at work."""
    path = tmp_path / "a.zarr"
    with pytest.raises(InputError, match="no share has been begun"):
        merge_shares(videos, path, OPTIONS, 3)
    _share(videos, path, 1)
    with pytest.raises(InputError, match=r"2 of 3 parts are not done; run --task-index 0, 2 of --task-count 3 again"):
        merge_shares(videos, path, OPTIONS, 3, max_broken=0.5)
    with locked(tmp_path / "a.zarr.lock", shared=True):
        _share(videos, path, 0)
        for other in (merge_shares, ingest):
            with pytest.raises(InputError, match="another process is writing"):
                other(videos, path, OPTIONS, **({"count": 3} if other is merge_shares else {}))
        assert _share(videos, path, 2) is None  # all is done, but somebody is at work
    assert merge_shares(videos, path, OPTIONS, 3, max_broken=0.5).fresh
    assert _bytes(path) == whole


@pytest.mark.parametrize("call", ["share", "merge"])
def test_merging_that_was_ended_late(videos, whole, tmp_path, call):
    """A store that has its manifest but not yet its place is put there, and nothing is begun anew."""
    path = tmp_path / "a.zarr"
    for name, data in whole.items():
        file = tmp_path / "a.zarr.partial" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    (tmp_path / "a.zarr.partial" / "work").mkdir()
    with pytest.raises(InputError, match="stride 2, not 1"):
        ingest_share(videos, path, IngestOptions(size=128), Share(0, 3))
    with pytest.raises(InputError, match=r"waits here: stride 2, not 1"):
        ingest(videos, path, IngestOptions(size=128), workers=1)
    done = _share(videos, path, 1) if call == "share" else merge_shares(videos, path, OPTIONS, 3)
    assert done.fresh
    assert _bytes(path) == whole


@pytest.mark.parametrize("call", ["share", "merge"])
@pytest.mark.parametrize("place", ["a.zarr", "a.zarr.partial"])
def test_store_of_other_videos_is_refused(tmp_path, call, place):
    """A store of the same options and other videos, standing or about to, is not taken for this one."""
    for name, frames in (("one", 4), ("two", 5)):
        (tmp_path / name).mkdir()
        write_video(tmp_path / name / "a.mp4", scene(frames, 16, 16))
    ingest(SourceFolder(tmp_path / "one"), tmp_path / "a.zarr", OPTIONS, workers=1)
    (tmp_path / "a.zarr").rename(tmp_path / place)
    before = _bytes(tmp_path)
    source, path = SourceFolder(tmp_path / "two"), tmp_path / "a.zarr"
    with pytest.raises(InputError, match=r"store .* here: other videos"):
        merge_shares(source, path, OPTIONS, 2) if call == "merge" else ingest_share(source, path, OPTIONS, Share(0, 2))
    assert _bytes(tmp_path) == before


def test_share_that_comes_while_another_merges(videos, whole, tmp_path):
    """A share that is started while the last one merges waits, and finds the store."""
    path = tmp_path / "a.zarr"
    ingest(videos, path, OPTIONS, workers=1, max_broken=0.5)
    path.rename(tmp_path / "made.zarr")
    with locked(tmp_path / "a.zarr.lock"):
        found = []
        late = threading.Thread(target=lambda: found.append(_share(videos, path, 0)))
        late.start()
        late.join(1.0)
        assert late.is_alive()
        (tmp_path / "made.zarr").rename(path)
    late.join()
    assert [done.fresh for done in found] == [False]
    assert _bytes(path) == whole


def test_share_without_end_of_waiting(videos, tmp_path, monkeypatch):
    """A share that waits in vain says that another process is at work."""
    monkeypatch.setattr(shares, "MERGING", 0.3)
    with locked(tmp_path / "a.zarr.lock"), pytest.raises(InputError, match="another process is writing"):
        _share(videos, tmp_path / "a.zarr", 0)


def test_room_is_needed_for_all_shares(videos, tmp_path, monkeypatch):
    """A share for whose own part there is room is refused where there is none for the whole plan."""
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 0, 70 * 10**6))  # a shard has 67 MB at most
    with pytest.raises(InputError, match=r"MB are still to be written, and 70 MB are free"):
        _share(videos, tmp_path / "a.zarr", 0)
    assert not list((tmp_path / "a.zarr.partial").glob("levels/0/c/*"))


def test_share_goes_on_from_another_folder(videos, whole, tmp_path, monkeypatch):
    """Shares that name source and store relative to different folders do one plan."""
    monkeypatch.chdir(videos.path.parent)
    path = tmp_path / "a.zarr"
    assert _share(SourceFolder(Path("videos")), path, 0) is None
    monkeypatch.chdir(tmp_path)
    assert _share(videos, Path("a.zarr"), 1) is None
    assert _share(videos, Path("a.zarr"), 2).fresh
    assert _bytes(path) == whole
    assert ClipStore("a.zarr").manifest.clips == 3


def test_same_share_twice_at_once_is_refused(videos, tmp_path):
    """Two processes with the same share do not write the same part."""
    path = tmp_path / "a.zarr"
    _share(videos, path, 1)
    with locked(tmp_path / "a.zarr.partial/work/locks/0"), pytest.raises(InputError, match="another process"):
        _share(videos, path, 0)


def test_other_command_is_refused(videos, tmp_path):
    """A share of another command does not go on with the plan."""
    _share(videos, tmp_path / "a.zarr", 1)
    other = IngestOptions(size=128, stride=1)
    with pytest.raises(InputError, match="of another command stands here: stride 2, not 1"):
        ingest_share(videos, tmp_path / "a.zarr", other, Share(0, 3), workers=1)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--task-index", "3", "--task-count", "3"],
        ["--task-index", "0"],
        ["--task-count", "3"],
        ["--merge", "--overwrite"],
        ["--task-index", "0", "--task-count", "2", "--scheduler", "tcp://nowhere:1"],
    ],
)
def test_ways_that_do_not_go_together(videos, tmp_path, arguments):
    """Options that contradict one another are one line, and nothing is written."""
    command = [sys.executable, str(ROOT / "tools/ingest.py"), str(videos.path), str(tmp_path / "a.zarr"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: --")
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.fixture
def cluster(tmp_path):
    """A Dask scheduler and two workers, each a process of its own."""
    pytest.importorskip("distributed")
    file = tmp_path / "scheduler.json"
    options = {"cwd": ROOT, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    commands = [
        ["scheduler", "--port", "0", "--no-dashboard", "--host", "127.0.0.1"],
        *[["worker", "--nthreads", "1", "--no-dashboard", "--death-timeout", "60"]] * 2,
    ]
    running = [
        subprocess.Popen([sys.executable, "-m", "dask", *command, "--scheduler-file", str(file)], **options)
        for command in commands
    ]
    yield file, running
    for process in running:
        process.kill()
        process.wait()


def _address(cluster):
    distributed = pytest.importorskip("distributed")
    with distributed.Client(scheduler_file=str(cluster[0]), timeout=60) as client:
        client.wait_for_workers(2, timeout=60)
        return client.scheduler.address


def test_dask_cluster(videos, whole, tmp_path, cluster):
    """A cluster's workers, one of which dies on the way, make the same store."""
    address = _address(cluster)
    runner = dask(address)
    timer = threading.Timer(0.5, cluster[1][1].kill)

    def with_a_death(jobs, on_video):
        timer.start()
        return runner(jobs, on_video)

    path = tmp_path / "store" / "a.zarr"
    assert ingest(videos, path, OPTIONS, runner=with_a_death, max_broken=0.5).fresh
    assert _bytes(path) == whole


def test_no_scheduler_there(videos, tmp_path, monkeypatch):
    """An address where nobody answers is an error before anything is planned."""
    pytest.importorskip("distributed")
    monkeypatch.setitem(pytest.importorskip("dask").config.config["distributed"]["comm"]["timeouts"], "connect", "1s")
    with pytest.raises(InputError, match=r"no Dask scheduler answers at 'tcp://127\.0\.0\.1:1'"):
        ingest(videos, tmp_path / "a.zarr", OPTIONS, runner=dask("tcp://127.0.0.1:1"), max_broken=0.5)
    assert not list(tmp_path.glob("a.zarr*"))
