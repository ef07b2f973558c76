"""Videos that break the decoder, and files that break their word, in a whole ingestion."""

import functools
import json
import os
import time

import attrs
import numpy as np
import pytest
from video_files import scene, write_video

from datasets import ClipStore
from datasets.decode import decode
from datasets.ingest import ingest
from datasets.options import IngestOptions
from datasets.sources.layouts import SourceFolder
from datasets.task import WriteTask
from datasets.verify import verify
from datasets.workers import run_jobs, stop_resting
from registry import InputError

OPTIONS = IngestOptions(size=16)


@attrs.frozen
class FragileTask(WriteTask):
    """A task whose decoder dies or hangs in the middle of the videos that are named so."""

    def _decode(self, video, shards, alive):
        if video.name in ("crash.mp4", "hang.mp4"):
            shards.put(video.offset, np.full((16, 16, 3), 255, np.uint8))
            os.abort() if video.name == "crash.mp4" else time.sleep(60)
        return super()._decode(video, shards, alive)


def _fragile(jobs, on_video):
    fragile = [FragileTask(*attrs.astuple(job, recurse=False)) for job in jobs]
    return run_jobs(fragile, 1, timeout=4.0)


@pytest.fixture(autouse=True)
def _stop():
    yield
    stop_resting()


def test_decoder_that_dies_or_hangs(tmp_path):
    """Two videos that kill and hang the decoder are quarantined; what they left behind is nowhere in the store."""
    (tmp_path / "videos").mkdir()
    for name in ("a", "crash", "hang", "z"):
        write_video(tmp_path / "videos" / f"{name}.mp4", scene(5))
    done = ingest(SourceFolder(tmp_path / "videos"), tmp_path / "s.zarr", OPTIONS, runner=_fragile, max_broken=0.5)
    store = ClipStore(path=str(tmp_path / "s.zarr"))
    assert [store.name(clip) for clip in range(len(store))] == ["a.mp4", "z.mp4"]
    for clip, name in enumerate(["a.mp4", "z.mp4"]):
        np.testing.assert_array_equal(store.window(clip, 0, 5), decode(tmp_path / "videos" / name, 16))
    reasons = [each["reason"] for each in json.loads((store.path / "quarantine.json").read_text())]
    assert reasons == ["crashed the decoder (exit code -6)", "made no progress for 4 s"]
    gap = (store.path / "levels/0/c/0/0/0/0").read_bytes()[: 20 * 16 * 16 * 3]
    assert bytes([255] * 16 * 16 * 3) not in gap
    assert done.left_out == 2
    assert verify(store) == []


@functools.cache
def _noise(frames):
    return np.random.default_rng(0).integers(0, 256, (frames, 32, 32, 3), dtype=np.uint8)


def _break(path, how):
    data = path.read_bytes()
    middle = len(data) // 2
    path.write_bytes(
        {
            "truncated": data[: int(0.8 * len(data))],
            "flipped": bytes(byte ^ (255 * (place > middle and place % 256 < 8)) for place, byte in enumerate(data)),
            "header": data[: data.index(b"mdat")],
            "empty": b"",
            "html": b"<!DOCTYPE html><html><body>Not Found</body></html>",
        }[how]
    )


@pytest.mark.parametrize("how", ["truncated", "flipped", "header", "empty", "html"])
def test_broken_file(tmp_path, how):
    """Each kind of broken file is left out with a reason, and the clips beside it are whole."""
    (tmp_path / "videos").mkdir()
    for name in ("a", "b", "c"):
        write_video(tmp_path / "videos" / f"{name}.mp4", _noise(30), options={"movflags": "faststart"})
    _break(tmp_path / "videos" / "b.mp4", how)
    ingest(SourceFolder(tmp_path / "videos"), tmp_path / "s.zarr", OPTIONS, workers=1, max_broken=0.5)
    store = ClipStore(path=str(tmp_path / "s.zarr"))
    [listed] = json.loads((store.path / "quarantine.json").read_text())
    assert listed["name"] == "b.mp4"
    assert listed["reason"]
    assert [store.name(clip) for clip in range(len(store))] == ["a.mp4", "c.mp4"]
    np.testing.assert_array_equal(store.window(1, 0, 30), decode(tmp_path / "videos" / "c.mp4", 16))


def test_file_that_changes_after_the_plan(tmp_path):
    """A video that is another when its turn comes is quarantined and not put where the old one should be."""
    (tmp_path / "videos").mkdir()
    for name in ("a", "b"):
        write_video(tmp_path / "videos" / f"{name}.mp4", scene(5))

    def change(jobs, on_video):
        write_video(tmp_path / "videos" / "b.mp4", _noise(40))
        return run_jobs(jobs, 1)

    ingest(SourceFolder(tmp_path / "videos"), tmp_path / "s.zarr", OPTIONS, runner=change, max_broken=0.5)
    [listed] = json.loads((tmp_path / "s.zarr" / "quarantine.json").read_text())
    assert "has changed since it was planned" in listed["reason"]


def test_too_many_broken_while_decoding(tmp_path):
    """When decoding finds too many broken, the run fails with a list; with a larger share allowed it goes on."""
    (tmp_path / "videos").mkdir()
    for name in ("a", "b", "c"):
        write_video(tmp_path / "videos" / f"{name}.mp4", _noise(30), options={"movflags": "faststart"})
        if name != "a":
            _break(tmp_path / "videos" / f"{name}.mp4", "truncated")
    arguments = (SourceFolder(tmp_path / "videos"), tmp_path / "s.zarr", OPTIONS)
    with pytest.raises(InputError, match=r"--max-broken: 2 of 3 videos .*s\.zarr\.quarantine\.json lists them"):
        ingest(*arguments, workers=1)
    report = tmp_path / "s.zarr.quarantine.json"
    assert [each["name"] for each in json.loads(report.read_text())] == ["b.mp4", "c.mp4"]

    def never(jobs, on_video):
        raise AssertionError

    assert ingest(*arguments, runner=never, max_broken=0.7).manifest.clips == 1
    assert not report.exists()
