"""Decoding: geometry, colour, strides, and files that are not what they say."""

import gc
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image
from video_files import scene, write_video

from datasets.decode import decode
from datasets.video_file import VideoError


def _corners(frame):
    """Mean colours around the middle of the four quarters: rows of (top left, top right, bottom left, bottom right)."""
    size = len(frame)
    low, high = slice(size // 8, 3 * size // 8), slice(5 * size // 8, 7 * size // 8)
    return np.array([frame[rows, columns].reshape(-1, 3).mean(0) for rows in (low, high) for columns in (low, high)])


@pytest.mark.parametrize("shape", [(48, 80), (80, 48), (64, 64), (33, 47), (16, 16)])
def test_short_side_and_centre(tmp_path, shape):
    """Whatever the size, odd or smaller than asked, the middle is in the middle and the quarters in place."""
    video = scene(3, *shape)
    frames = decode(write_video(tmp_path / "a.mp4", video, pixels="yuv444p"), 24)
    assert frames.shape == (3, 24, 24, 3)
    np.testing.assert_allclose(_corners(frames[0]), _corners(video[0][_square(shape)]), atol=8)


def _square(shape):
    """The centre square of a picture."""
    side = min(shape)
    top, left = (shape[0] - side) // 2, (shape[1] - side) // 2
    return np.s_[top : top + side, left : left + side]


def test_scaling_is_an_area_mean(tmp_path):
    """Halving a picture of random blocks gives the mean of each 2x2 block: nothing aliases."""
    random = np.random.default_rng(0).integers(60, 200, (1, 32, 32, 1), dtype=np.uint8).repeat(3, -1)
    frames = decode(write_video(tmp_path / "a.mkv", random, codec="ffv1", pixels="bgr0"), 16)
    means = random[0].reshape(16, 2, 16, 2, 3).mean((1, 3))
    np.testing.assert_allclose(frames[0], means, atol=3)


@pytest.mark.parametrize("stride", [1, 2, 3, 7])
def test_every_stride_th_frame(tmp_path, stride):
    """With a stride the frames are those of the whole video, from the first on."""
    path = write_video(tmp_path / "a.mp4", scene(11))
    np.testing.assert_array_equal(decode(path, 16, stride), decode(path, 16)[::stride])


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_rotation_is_applied(tmp_path, degrees):
    """A video whose container says to turn it (counterclockwise) comes out turned."""
    video = scene(2)
    upright = decode(write_video(tmp_path / "a.mp4", video), 24)
    turned = decode(write_video(tmp_path / "b.mp4", video, rotation=degrees), 24)
    np.testing.assert_allclose(_corners(turned[0]), _corners(np.rot90(upright[0], degrees // 90)), atol=1)


# Each orientation as the numbers a, b, c, d of the display matrix, and what it does to a picture.
ORIENTATIONS = {
    "mirrored": ((-1, 0, 0, 1), lambda picture: picture[:, ::-1]),
    "upside down": ((1, 0, 0, -1), lambda picture: picture[::-1]),
    "half a turn": ((-1, 0, 0, -1), lambda picture: picture[::-1, ::-1]),
    "quarter clockwise": ((0, 1, -1, 0), lambda picture: np.rot90(picture, -1)),
    "quarter counterclockwise": ((0, -1, 1, 0), lambda picture: np.rot90(picture)),
    "transposed": ((0, 1, 1, 0), lambda picture: picture.swapaxes(0, 1)),
    "across": ((0, -1, -1, 0), lambda picture: np.rot90(picture, 2).swapaxes(0, 1)),
    "nearly upright": ((0.995, 0.0998, -0.0998, 0.995), lambda picture: picture),
}


@pytest.mark.parametrize("shape", [(48, 48), (48, 80), (80, 48)])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_mirrored_and_turned(tmp_path, shape, orientation):
    """Every turn with and without mirroring that a display matrix says is applied to the picture."""
    (a, b, c, d), change = ORIENTATIONS[orientation]
    upright = decode(write_video(tmp_path / "a.mp4", scene(2, *shape)), 24)
    matrix = [round(65536 * value) for value in (a, b, 0, c, d, 0, 0, 0)] + [1 << 30]
    turned = decode(write_video(tmp_path / "b.mp4", scene(2, *shape), matrix=matrix), 24)
    np.testing.assert_allclose(_corners(turned[1]), _corners(change(upright[1])), atol=1)


def test_frame_data_that_nobody_knows(tmp_path):
    """Pictures with EXIF, beside which PyAV cannot read how they are turned, are no silently mirrored video."""
    still = Image.new("RGB", (64, 48), (200, 30, 30))
    exif = still.getexif()
    exif[0x0112] = 2  # mirrored
    still.save(tmp_path / "a.jpg", exif=exif)
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        stream.codec_context.open()
        for number in range(3):
            packet = av.Packet((tmp_path / "a.jpg").read_bytes())
            packet.stream, packet.pts, packet.dts, packet.time_base = stream, number, number, Fraction(1, 25)
            container.mux(packet)
    try:
        frames = decode(tmp_path / "a.mkv", 16)
    except VideoError as error:
        assert "may be turned or mirrored" in error.reason
    else:  # a later PyAV
        assert len(frames) == 3


def test_pictures_leave_the_memory(tmp_path):
    """A decoded picture is gone once its frame is made, and does not wait for the garbage collector."""
    path = write_video(tmp_path / "a.mp4", scene(40), rotation=90)
    gc.collect()
    gc.disable()
    try:
        decode(path, 16)
        left = sum(isinstance(each, av.VideoFrame) for each in gc.get_objects())
    finally:
        gc.enable()
    assert left < 5


def test_pixels_that_are_not_square(tmp_path):
    """Pixels twice as wide as high make a square of 40x80 stored pixels."""
    video = np.zeros((1, 80, 120, 3), np.uint8)
    video[:, :, 40:80] = 200
    path = write_video(tmp_path / "a.mp4", video, sample_aspect_ratio=Fraction(2, 1))
    frames = decode(path, 32)
    assert frames.mean() > 180  # the visible square shows the middle 40 columns alone


@pytest.mark.parametrize("color_range", [1, 2])
def test_limited_and_full_range(tmp_path, color_range):
    """Black to white comes out as 0 to 255 from video of limited (1) and of full (2) range."""
    ramp = np.linspace(0, 255, 32).astype(np.uint8)[None, None, :, None] * np.ones((2, 32, 1, 3), np.uint8)
    frames = decode(write_video(tmp_path / "a.mp4", ramp, color_range=color_range), 32)
    assert abs(frames.astype(int) - ramp).max() < 8


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv", "a.avi", "a.webm"])
@pytest.mark.parametrize("keep", [0.9, 0.5])
def test_truncated_file_is_an_error(tmp_path, name, keep):
    """A file that ends too early is an error in every container, though some decode without one."""
    noise = np.random.default_rng(0).integers(0, 256, (50, 32, 32, 3), dtype=np.uint8)
    options = {"movflags": "faststart"} if name in ("a.mp4", "a.mov") else {}
    codec = "libvpx" if name == "a.webm" else "libx264"
    path = write_video(tmp_path / name, noise, options=options, codec=codec)
    assert len(decode(path, 16)) == 50
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(VideoError, match=r"cut short|damaged|cannot be decoded") as caught:
        decode(path, 16)
    assert caught.value.path == path


def test_lost_packets_are_counted(tmp_path):
    """An MP4 with sound packets but fewer than its header lists is told by its count."""
    noise = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)
    path = write_video(tmp_path / "a.mp4", noise, options={"movflags": "faststart"}, gop_size=1)
    with av.open(str(path)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    path.write_bytes(path.read_bytes()[: places[25][0]])  # exactly after 25 packets
    with pytest.raises(VideoError, match="25 of the 40 frames"):
        decode(path, 16)


def test_flipped_bytes_are_an_error(tmp_path):
    """Damage inside the stream, which the decoder would paint over, is an error."""
    noise = np.random.default_rng(0).integers(0, 256, (30, 32, 32, 3), dtype=np.uint8)
    path = write_video(tmp_path / "a.mp4", noise, options={"movflags": "faststart"})
    data = bytearray(path.read_bytes())
    for place in range(len(data) // 2, len(data)):
        data[place] ^= 0xFF * (place % 256 < 8)
    path.write_bytes(data)
    with pytest.raises(VideoError, match=r"damaged|cannot be decoded"):
        decode(path, 16)


def test_edit_list_is_no_damage(tmp_path):
    """A video cut without re-encoding hides its first frames; that is no truncation."""
    source = write_video(tmp_path / "a.mp4", scene(30), gop_size=4)
    with (
        av.open(str(source)) as old,
        av.open(str(tmp_path / "b.mp4"), "w", options={"avoid_negative_ts": "disabled"}) as new,
    ):
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(video=0):
            if packet.dts is not None:
                shift = int(Fraction(10, 25) / packet.time_base)
                packet.pts, packet.dts, packet.stream = packet.pts - shift, packet.dts - shift, stream
                new.mux(packet)
    np.testing.assert_array_equal(decode(tmp_path / "b.mp4", 16), decode(source, 16)[10:])


@pytest.mark.parametrize("content", [b"", b"<!DOCTYPE html><html><body>404 Not Found</body></html>" * 40, b"\0" * 5000])
def test_no_video_at_all(tmp_path, content):
    """An empty file, an error page saved as mp4 and a file of zeros are errors that name the file."""
    path = tmp_path / "a.mp4"
    path.write_bytes(content)
    with pytest.raises(VideoError, match=r"a\.mp4: (is empty|is a web page|begins with nothing but zeros)"):
        decode(path, 16)


def test_sound_alone(tmp_path):
    """A file without a video stream says so."""
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(VideoError, match="no video stream"):
        decode(tmp_path / "a.mp4", 16)
