"""Codecs, depths, chroma and times of every kind."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from video_files import scene, write_video

from datasets import ClipStore
from datasets.decode import decode
from datasets.ingest import ingest
from datasets.options import IngestOptions
from datasets.probe import probe
from datasets.sources.layouts import SourceFolder
from datasets.video_file import VideoError

QUARTERS = [np.s_[4:12, 4:12], np.s_[4:12, 20:28], np.s_[20:28, 4:12], np.s_[20:28, 20:28]]


def _means(frame):
    return np.array([frame[quarter].reshape(-1, 3).mean(0) for quarter in QUARTERS])


@pytest.mark.parametrize(
    ("name", "codec", "pixels"),
    [
        ("a.mp4", "libx264", "yuv420p"),
        ("a.mp4", "libx264", "yuv422p10le"),
        ("a.mp4", "libx264", "yuv444p"),
        ("a.mp4", "libx265", "yuv420p"),
        ("a.mp4", "libx265", "yuv420p10le"),
        ("a.mp4", "libsvtav1", "yuv420p"),
        ("a.mkv", "libsvtav1", "yuv420p10le"),
        ("a.webm", "libvpx-vp9", "yuv420p"),
        ("a.webm", "libvpx", "yuv420p"),
        ("a.mkv", "ffv1", "gray"),
        ("a.mov", "prores_ks", "yuv422p10le"),
        ("a.avi", "mpeg4", "yuv420p"),
        ("a.avi", "mjpeg", "yuvj420p"),
    ],
)
def test_codecs(tmp_path, name, codec, pixels):
    """Colours and the number of frames are right whatever the codec, the depth, the chroma and the container."""
    video = scene(12, 64, 64)
    if pixels == "gray":
        video[:] = video.max(-1, keepdims=True)
    try:
        path = write_video(tmp_path / name, video, codec=codec, pixels=pixels)
    except (av.codec.codec.UnknownCodecError, av.ArgumentError):
        pytest.skip(f"this PyAV cannot encode {pixels} with {codec}")
    frames = decode(path, 32)
    assert probe(path).frames == len(frames) == 12
    assert probe(path).step is None
    for time in (0, 11):
        np.testing.assert_allclose(_means(frames[time]), _means(video[time, ::2, ::2]), atol=14)


def test_ten_bit_vp9():
    """VP9 in ten bits, which PyAV decodes and does not encode: ``scene(12, 64, 64)``, written by ffmpeg."""
    path = Path(__file__).with_name("vp9_ten_bits.webm")
    with av.open(str(path)) as container:
        assert container.streams.video[0].codec_context.pix_fmt == "yuv420p10le"
    frames = decode(path, 32)
    assert probe(path).frames == len(frames) == 12
    for time in (0, 11):
        np.testing.assert_allclose(_means(frames[time]), _means(scene(12, 64, 64)[time, ::2, ::2]), atol=14)


@pytest.mark.parametrize("pixels", ["yuv420p", "yuv420p10le"])
@pytest.mark.parametrize("size", [(35, 51), (33, 64), (64, 31)])
def test_odd_sizes_in_ten_bits(tmp_path, pixels, size):
    """Odd sizes of 4:2:0 video neither shift nor fail."""
    path = write_video(tmp_path / "a.mkv", scene(2, *size), codec="ffv1", pixels=pixels)
    for resize in ("short-crop", "stretch"):
        frames = decode(path, 32, resize=resize)
        assert frames.shape == (2, 32, 32, 3)
        np.testing.assert_allclose(_means(frames[0]), _means(decode(path, 32)[0]), atol=3)


def test_stretch_and_pad(tmp_path):
    """Stretching keeps the whole picture; padding puts it between black bars of the right width."""
    path = write_video(tmp_path / "a.mp4", np.full((1, 32, 64, 3), 200, np.uint8))
    assert decode(path, 32, resize="stretch").min() > 190
    padded = decode(path, 32, resize="long-pad")[0]
    assert padded[8:24].min() > 190
    assert not padded[:8].any()
    assert not padded[24:].any()


def _write_at(path, times, *, rate=1000, start=0):
    """One frame for each of ``times``, in ``1 / rate`` s, each of a brightness of its own."""
    with av.open(str(path), "w", options={"avoid_negative_ts": "disabled"}) as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "5", "bf": "0"})
        stream.width = stream.height = 16
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, rate)
        for number, time in enumerate(times):
            picture = np.full((16, 16, 3), 10 + 20 * number, np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = start + time, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def _numbers(frames):
    """Which of the frames of ``_write_at`` each one is."""
    return np.rint((frames.reshape(len(frames), -1).mean(1) - 10) / 20).astype(int).tolist()


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.mov"])
@pytest.mark.parametrize("start", [0, 2000])
def test_variable_rate(tmp_path, name, start):
    """Frames that are shown longer are repeated, so that the clip runs at the rate of most of them."""
    path = _write_at(tmp_path / name, [0, 40, 80, 200, 240, 280, 320], start=start)
    timing = probe(path)
    frames = decode(path, 16, step=timing.step)
    assert _numbers(frames) == [0, 1, 2, 2, 2, 3, 4, 5, 6]
    assert timing.frames == 9
    assert _numbers(decode(path, 16, 2, step=timing.step)) == [0, 2, 2, 4, 6]


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_frames_in_a_hurry(tmp_path, name):
    """Of frames closer together than the usual rate the last one in a place is shown."""
    path = _write_at(tmp_path / name, [0, 40, 80, 85, 120, 160, 200, 240])
    assert _numbers(decode(path, 16, step=probe(path).step)) == [0, 1, 3, 4, 5, 6, 7]


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_constant_rate_is_taken_as_it_is(tmp_path, name):
    """A start other than zero, and times rounded to milliseconds, make no variable rate."""
    path = _write_at(tmp_path / name, [round(1000 * number / 29.97) for number in range(11)], start=700)
    assert probe(path).step is None
    assert _numbers(decode(path, 16)) == list(range(11))


def test_broken_timestamps_are_quarantined(tmp_path):
    """A video whose timestamps leap for hours is broken, and not a clip of millions of frames."""
    path = _write_at(tmp_path / "a.mkv", [0, 40, 80, 120, 4_000_000])
    with pytest.raises(VideoError, match="5 frames are spread over 100001 frame times"):
        probe(path)


def test_variable_rate_in_a_store(tmp_path):
    """The store holds the resampled clip, and the plan has exactly the room for it."""
    (tmp_path / "videos").mkdir()
    _write_at(tmp_path / "videos" / "a.mp4", [0, 40, 120, 160, 200])
    _write_at(tmp_path / "videos" / "b.mp4", [0, 40, 80])
    ingest(SourceFolder(tmp_path / "videos"), tmp_path / "a.zarr", IngestOptions(size=16), workers=1)
    store = ClipStore(path=str(tmp_path / "a.zarr"))
    assert _numbers(store.window(0, 0, 6)) == [0, 1, 1, 2, 3, 4]
    assert _numbers(store.window(1, 0, 3)) == [0, 1, 2]
    assert store.manifest.length == 9


def test_bframes_of_variable_rate(tmp_path):
    """Frames stored in another order than they are shown in are resampled in the order of their times."""
    times = [0, 40, 80, 160, 200, 240, 280, 320, 360]
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "5", "bf": "3", "b-adapt": "0"})
        stream.width = stream.height = 16
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for number, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(np.full((16, 16, 3), 10 + 20 * number, np.uint8), format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    timing = probe(path)
    assert _numbers(decode(path, 16, step=timing.step)) == [0, 1, 2, 2, 3, 4, 5, 6, 7, 8]
    assert timing.frames == 10
