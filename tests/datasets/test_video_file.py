"""Which film of a file is taken, which files are none, and whose fault it is when one cannot be read."""

import errno
import io
import os
import sys
from fractions import Fraction
from pathlib import Path

import attrs
import av
import numpy as np
import pytest
from video_files import scene, write_at, write_video

from datasets.decode import decode
from datasets.ingest import ingest
from datasets.options import IngestOptions
from datasets.probe import probe
from datasets.sources.layouts import SourceFolder
from datasets.task import WriteTask
from datasets.video_file import VideoError, frame_rate, opened
from datasets.workers import run_jobs, stop_resting


class _FailingFile(io.FileIO):
    """A file whose disk answers with an error from a place on."""

    def __init__(self, path, place, code):
        super().__init__(path)
        self.place, self.code = place, code

    def read(self, size=-1):
        if self.tell() + size > self.place:
            raise OSError(self.code, os.strerror(self.code))
        return super().read(size)


class _FailingPath(type(Path())):
    """The path of such a file."""

    place, code = 0, errno.EIO

    def open(self, *_args, **_kwargs):
        return _FailingFile(str(self), self.place, self.code)


@pytest.fixture(scope="module")
def noise():
    """Frames whose files are long."""
    return np.random.default_rng(0).integers(0, 256, (30, 64, 64, 3), dtype=np.uint8)


@pytest.mark.parametrize("code", [errno.EIO, errno.ESTALE, errno.EACCES])
@pytest.mark.parametrize("part", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi"])
def test_an_error_of_the_disk_is_none_of_the_video(tmp_path, monkeypatch, noise, name, part, code):
    """A read that fails, wherever that is, is an error of the disk with the file's name, and no broken video."""
    options = {"movflags": "faststart"} if name == "a.mp4" else {}
    path = _FailingPath(write_video(tmp_path / name, noise, options=options))
    monkeypatch.setattr(_FailingPath, "code", code)
    monkeypatch.setattr(_FailingPath, "place", int(part * path.stat().st_size))
    with pytest.raises(OSError, match=os.strerror(code)) as caught:
        decode(path, 16)
    assert (caught.value.errno, caught.value.filename) == (code, str(path))
    monkeypatch.setattr(_FailingPath, "place", 1 << 40)
    assert len(decode(path, 16)) == 30


@pytest.mark.skipif(sys.platform != "linux", reason="needs a file that answers with an error, as /proc/self/mem does")
def test_disk_error_while_looking_ends_the_run(tmp_path):
    """A video that cannot be read when the store is planned ends the run and is not quarantined."""
    (tmp_path / "videos").mkdir()
    write_video(tmp_path / "videos" / "a.mp4", scene(5))
    (tmp_path / "videos" / "b.mp4").symlink_to("/proc/self/mem")
    with pytest.raises(OSError, match=r"Input/output error: '.*b\.mp4'"):
        ingest(
            SourceFolder(tmp_path / "videos"), tmp_path / "a.zarr", IngestOptions(size=16), workers=1, max_broken=1.0
        )
    assert not (tmp_path / "a.zarr").exists()


class _FailingTask(WriteTask):
    """A task for which the disk of one video fails in the middle."""

    def _decode(self, video, shards, alive):
        if video.name == "b.mp4":
            _FailingPath.place = video.bytes // 2
            object.__setattr__(self, "source", _FailingPath(self.source))
        return super()._decode(video, shards, alive)


def _failing(jobs, _on_video):
    return run_jobs([_FailingTask(*attrs.astuple(job, recurse=False)) for job in jobs], 1)


def test_disk_error_while_decoding_ends_the_run(tmp_path, noise):
    """A disk that fails while a video is decoded ends the run; the same command then takes the video."""
    (tmp_path / "videos").mkdir()
    for name in ("a", "b"):
        write_video(tmp_path / "videos" / f"{name}.mp4", noise)
    arguments = (SourceFolder(tmp_path / "videos"), tmp_path / "a.zarr", IngestOptions(size=16))
    try:
        with pytest.raises(OSError, match=r"Input/output error: '.*b\.mp4'"):
            ingest(*arguments, runner=_failing, max_broken=1.0)
    finally:
        stop_resting()
    assert ingest(*arguments, workers=1).manifest.clips == 2


def test_too_little_memory_is_none_of_the_video(tmp_path):
    """FFmpeg's lack of memory is not said to be the video's fault, whose process ends and tries once more."""
    path = write_video(tmp_path / "a.mp4", scene(4))
    with pytest.raises(MemoryError), opened(path):
        raise av.error.MemoryError(errno.ENOMEM, os.strerror(errno.ENOMEM))


def _add_stream(container, codec, frames, pixels):
    stream = container.add_stream(codec, rate=25)
    stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], pixels
    return stream


def _mux(container, stream, frames):
    for frame in frames:
        container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
    container.mux(stream.encode())


@pytest.mark.parametrize("flag", ["none", "attached_pic"])
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_the_film_and_not_the_picture(tmp_path, name, flag):
    """A cover that lies before the film, larger and marked as one or not, is not taken for it."""
    film, cover = scene(9), np.zeros((1, 200, 300, 3), np.uint8)
    with av.open(str(tmp_path / name), "w") as container:
        streams = [
            _add_stream(container, "mjpeg", cover, "yuvj420p"),
            _add_stream(container, "libx264", film, "yuv420p"),
        ]
        streams[1].disposition = av.stream.Disposition.default
        streams[0].disposition = av.stream.Disposition[flag] if flag != "none" else av.stream.Disposition(0)
        _mux(container, streams[0], cover)
        _mux(container, streams[1], film)
    assert probe(tmp_path / name).frames == 9
    frames = decode(tmp_path / name, 16)
    assert len(frames) == 9
    assert frames[0, 2, 2].tolist() == pytest.approx([100, 0, 0], abs=12)


def test_a_cover_alone_is_no_video(tmp_path):
    """Sound with a cover has no film."""
    cover = np.zeros((1, 40, 40, 3), np.uint8)
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        sound = container.add_stream("aac", rate=8000)
        picture = _add_stream(container, "mjpeg", cover, "yuvj420p")
        picture.disposition = av.stream.Disposition.attached_pic
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        silence.sample_rate = 8000
        container.mux(sound.encode(silence))
        container.mux(sound.encode())
        _mux(container, picture, cover)
    for look in (probe, lambda path: decode(path, 16)):
        with pytest.raises(VideoError, match="has no video stream, only a picture"):
            look(tmp_path / "a.mp4")


def test_what_is_no_video_by_another_name(tmp_path):
    """A picture, a list of other files and a transport stream named .mp4 are refused, and no other file is read."""
    path = write_video(tmp_path / "other.mp4", scene(4))
    with av.open(str(tmp_path / "b.jpg"), "w", format="image2") as container:
        still = scene(1)
        _mux(container, _add_stream(container, "mjpeg", still, "yuvj420p"), still)
    (tmp_path / "a.mp4").write_text(f"ffconcat version 1.0\nfile {path.name}\n")
    (tmp_path / "b.jpg").rename(tmp_path / "b.mp4")
    write_video(tmp_path / "c.ts", scene(4)).rename(tmp_path / "c.mp4")
    for name in ("a.mp4", "b.mp4", "c.mp4"):
        for look in (probe, lambda path: decode(path, 16)):
            with pytest.raises(VideoError, match="cannot be opened as AVI, Matroska, MP4, MOV or WebM"):
                look(tmp_path / name)


@pytest.mark.parametrize("name", ["12:30.mp4", "http:x.mp4", "concat:a|b.mp4", "a%03d.mp4", "-i.mp4"])
def test_names_that_look_like_addresses(tmp_path, monkeypatch, name):
    """A file is read whatever its name looks like, from the folder that it lies in as well."""
    write_video(tmp_path / "a.mp4", scene(4)).rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert probe(Path(name)).frames == len(decode(Path(name), 16)) == 4


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi"])
def test_a_title_in_an_old_encoding(tmp_path, name):
    """A film is read whatever bytes its title is made of."""
    with av.open(str(tmp_path / name), "w") as container:
        container.metadata["title"] = "caf__"
        _mux(container, _add_stream(container, "libx264", scene(4), "yuv420p"), scene(4))
    data = (tmp_path / name).read_bytes()
    assert b"caf__" in data
    (tmp_path / name).write_bytes(data.replace(b"caf__", b"caf\xe9\xff"))
    assert probe(tmp_path / name).frames == len(decode(tmp_path / name, 16)) == 4


def _without_tags(data):
    """A Matroska file whose streams do not say how long they are."""
    assert b"DURATION" in data
    return data.replace(b"DURATION", b"XURATION")


@pytest.mark.parametrize("sound", [False, True])
@pytest.mark.parametrize(("name", "codec"), [("a.webm", "libvpx"), ("a.mkv", "libx264")])
def test_matroska_that_states_one_duration(tmp_path, noise, name, codec, sound):
    """A cut Matroska file whose header states but the duration of the whole is an error; the whole one is none."""
    with av.open(str(tmp_path / name), "w") as container:
        film = _add_stream(container, codec, noise, "yuv420p")
        voice = container.add_stream("libopus", rate=48000) if sound else None
        _mux(container, film, noise)
        for start in range(0, 2 * 48000 if sound else 0, 960):  # longer than the film
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 1920), np.int16), format="s16", layout="stereo")
            silence.sample_rate, silence.pts = 48000, start
            container.mux(voice.encode(silence))
        if sound:
            container.mux(voice.encode())
    path = tmp_path / name
    data = _without_tags(path.read_bytes())
    path.write_bytes(data)
    assert len(decode(path, 16)) == 30
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(VideoError, match=r"cut short|damaged"):
        decode(path, 16)


def test_a_guessed_duration_is_no_promise(tmp_path, noise):
    """A Matroska stream that was never finished has no duration, and FFmpeg's guess is not held against it."""

    class Pipe(io.BytesIO):
        def seekable(self):
            return False

    pipe = Pipe()
    with av.open(pipe, "w", format="matroska") as container:
        film = _add_stream(container, "mpeg4", noise, "yuv420p")
        voice = container.add_stream("pcm_s16le", rate=8000)
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.int16), format="s16", layout="mono")
        silence.sample_rate = 8000
        container.mux(voice.encode(silence))
        _mux(container, film, noise)
    (tmp_path / "a.mkv").write_bytes(pipe.getvalue())
    with av.open(str(tmp_path / "a.mkv")) as container:
        assert container.duration / 1e6 > 1.8  # of 1.2 s
    assert len(decode(tmp_path / "a.mkv", 16)) == 30


def test_fragmented_mp4_with_an_index(tmp_path, noise):
    """A fragmented MP4 that is cut between two fragments is an error where an index says how long it is."""
    options = {"movflags": "dash+global_sidx"}
    path = write_video(tmp_path / "a.mp4", noise, options=options, gop_size=5)
    assert len(decode(path, 16)) == 30
    data = path.read_bytes()
    places = [place for place in range(len(data)) if data[place : place + 4] == b"moof"]
    assert len(places) > 3
    path.write_bytes(data[: places[3] - 4])
    with pytest.raises(VideoError, match="cut short"):
        decode(path, 16)


VARIABLE = (0, 40, 120, 133, 400, 433, 900, 1000, 1400)
"""Milliseconds at which frames begin; the last is shown for one, if the file knows it."""


@pytest.mark.parametrize(
    ("name", "codec", "start"),
    [("a.webm", "libvpx", 0), ("a.mkv", "libx264", 0), ("a.avi", "mpeg4", 0), ("a.webm", "libvpx", 5000)],
)
def test_the_rate_of_uneven_frames_is_their_mean(tmp_path, name, codec, start):
    """Nine frames in 1.4 s, wherever they start; the header says a thousand in one second."""
    path = write_at(tmp_path / name, [start + time for time in VARIABLE], codec=codec)
    with av.open(str(path)) as container:
        assert container.streams.video[0].average_rate == 1000
    assert frame_rate(path, 9) == pytest.approx(9 / 1.4, rel=1e-3)


def test_without_timestamps_the_rate_is_that_of_the_duration(tmp_path, monkeypatch):
    """Where packets have no time, frames are spread over the file; if that has no duration, the header's is left."""
    path = write_at(tmp_path / "a.webm", VARIABLE, codec="libvpx")
    monkeypatch.setattr("datasets.video_file._shown", lambda *_: 0)
    assert frame_rate(path, 9) == pytest.approx(9 / 1.401)
    data = path.read_bytes()
    duration = data.index(b"\x44\x89\x88")  # the element Duration: eight bytes of a float
    path.write_bytes(data[: duration + 3] + bytes(8) + data[duration + 11 :])
    with av.open(str(path)) as container:
        assert not container.duration
    assert frame_rate(path, 9) == 1000


@pytest.mark.parametrize("rate", [Fraction(25), Fraction(30000, 1001), Fraction(240), Fraction(1, 2)])
@pytest.mark.parametrize(
    ("name", "codec"), [("a.webm", "libvpx"), ("a.mkv", "libx264"), ("a.avi", "mpeg4"), ("a.mp4", "libx264")]
)
def test_the_rate_of_even_frames_is_exact(tmp_path, name, codec, rate):
    """Milliseconds of Matroska do not blur it."""
    path = write_at(tmp_path / name, range(7), 1 / rate, codec)
    assert frame_rate(path, 7) == rate
