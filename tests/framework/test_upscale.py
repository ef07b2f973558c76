"""Real low-resolution videos upsampled by the stages after the one whose videos they stand for."""

import json
from fractions import Fraction

import attrs
import av
import numpy as np
import pytest
import torch
import zarr
from tiny_runs import copy_of

from datasets.decode import decode
from datasets.encode import write_video
from framework.noise import sample_noise
from framework.other_lengths import estimate_for
from framework.pictures import FILM_RATE, to_pixels
from framework.request import Request
from framework.trained import find, open_cascade
from framework.upscale import upscale
from registry import InputError


@pytest.fixture
def film(tmp_path):
    """A video file of seven frames."""
    frames = np.random.default_rng(0).integers(0, 256, (7, 6, 10, 3), dtype=np.uint8).repeat(4, 1).repeat(4, 2)
    write_video(tmp_path / "film.mp4", frames, 10)
    return tmp_path / "film.mp4"


def test_the_result_is_the_generators(trained, film, tmp_path):
    """The last stage's generator run whole over the decoded frames gives the very pixels; sample by sample."""
    request = Request(label="cross", count=2, formats=("zarr",), seed=3)
    group, about = upscale(trained.path, film, request, tmp_path / "out")
    arrays = dict(zarr.open_group(group, mode="r").arrays())
    assert sorted(arrays) == ["base", "full"]
    low = torch.from_numpy(decode(film, 4)).permute(0, 3, 1, 2).div(127.5).sub(1)
    cascade = open_cascade(find(trained.path), 14, "base").cascade
    [z] = sample_noise(cascade, 3, range(2), 1.0)
    y = torch.tensor([1, 1])
    with torch.no_grad():
        expected = cascade.links[0].generator(z, y, low.expand(2, -1, -1, -1, -1))
    assert arrays["full"].shape == (2, 14, 8, 8, 3)
    assert abs(arrays["full"][:].astype(int) - to_pixels(expected).astype(int)).max() <= 1
    shown = to_pixels(low[None].expand(2, -1, -1, -1, -1))
    assert (arrays["base"][:] == shown).all()  # what it is made of stands beside
    assert json.loads(about.read_text())["video"] == str(film)
    assert about.stem == "tiny_full_14_frames_cross_seed_3_film"


def test_no_more_frames_than_asked(trained, film, tmp_path):
    """A shorter result is the beginning of the video."""
    group, _ = upscale(trained.path, film, Request(label="cross", frames=6, formats=("zarr",)), tmp_path / "out")
    assert zarr.open_group(group, mode="r")["full"].shape[1] == 6
    assert zarr.open_group(group, mode="r")["base"].shape[1] == 3


@pytest.mark.parametrize("frames", range(1, 15))
def test_films_of_every_length_are_whole(trained, film, tmp_path, frames):
    """However many frames are asked for, the film has them, the real video beside the result."""
    request = Request(label="cross", frames=frames, count=1, formats=("mp4", "png", "zarr"))
    path, _, group, _ = upscale(trained.path, film, request, tmp_path / "out")
    made = decode(path, 128)
    assert len(made) == frames
    assert zarr.open_group(group, mode="r")["base"].shape[1] == -(-frames // 2)
    with av.open(str(path)) as opened:
        assert opened.streams.video[0].width == 2 * 128 + 2


def test_at_a_length_that_has_statistics(trained, film, tmp_path):
    """Statistics that were estimated for the length are taken, those of the stages that it leaves out at theirs."""
    run = copy_of(trained, tmp_path / "run")
    estimate_for(run.path, 12, passes=1, batch=2)
    request = Request(label="cross", frames=12, count=1, formats=("png",))
    _, about = upscale(run.path, film, request, tmp_path / "out")
    assert json.loads(about.read_text())["statistics"] == {"full": "of 12 frames, 1 passes of 2"}


@pytest.mark.parametrize("rate", [Fraction(10), Fraction(30000, 1001), Fraction(24)])
def test_films_last_as_long_as_the_video(trained, tmp_path, rate):
    """Twice the frames at twice the video's rate; a rate that is asked for is taken, and both are said."""
    write_video(tmp_path / "film.mp4", np.zeros((6, 8, 8, 3), np.uint8), rate)
    request = Request(label="cross", count=1, formats=("mp4",))
    path, about = upscale(trained.path, tmp_path / "film.mp4", request, tmp_path / "out")
    assert _rate_of(path) == 2 * rate
    assert json.loads(about.read_text())["rate"] == pytest.approx(float(2 * rate))
    path, about = upscale(trained.path, tmp_path / "film.mp4", attrs.evolve(request, rate=5), tmp_path / "out")
    assert _rate_of(path) == 5 == json.loads(about.read_text())["rate"]


def test_films_of_uneven_frames_last_as_long(trained, tmp_path):
    """A WebM of variable rate, whose header speaks of 1000 frames per second, gives a film of its 1.46 s."""
    unit = Fraction(1, 1000)
    with av.open(str(tmp_path / "film.webm"), "w") as container:
        stream = container.add_stream("libvpx", rate=1 / unit)
        stream.height, stream.width, stream.pix_fmt = 32, 32, "yuv420p"
        for time in (0, 40, 250, 300, 1000, 1459):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), time // 6, np.uint8), format="rgb24")
            frame.pts, frame.time_base = time, unit
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    request = Request(label="cross", count=1, formats=("mp4",))
    path, _ = upscale(trained.path, tmp_path / "film.webm", request, tmp_path / "out")
    with av.open(str(path)) as made:
        assert made.streams.video[0].frames == 12
        assert made.duration / av.time_base == pytest.approx(1.46, abs=0.002)


def test_a_video_that_says_no_rate_has_the_films_own(trained, film, tmp_path, monkeypatch):
    """Nothing is made up of it: films play as all others do."""
    monkeypatch.setattr("framework.upscale.frame_rate", lambda *_: None)
    path, _ = upscale(trained.path, film, Request(label="cross", count=1, formats=("mp4",)), tmp_path / "out")
    assert _rate_of(path) == FILM_RATE


def _rate_of(path):
    with av.open(str(path)) as opened:
        return opened.streams.video[0].average_rate


@pytest.mark.parametrize(
    ("changes", "source", "says"),
    [
        ({"label": None}, None, "--label: is missing: the cascade is conditional; allowed: circle, cross, square"),
        ({"stage": "base"}, None, "--stage: 'base' is the base stage: it upsamples nothing"),
        ({}, "bas", "--source: no earlier stage is called 'bas'; allowed: base; did you mean 'base'?"),
    ],
)
def test_bad_requests(trained, film, tmp_path, changes, source, says):
    """What cannot be is said in one line; nothing is written."""
    with pytest.raises(InputError) as caught:
        upscale(trained.path, film, Request(**{"label": "cross", **changes}), tmp_path / "out", source)
    assert says in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_no_video(trained, tmp_path):
    """It is named once with what is allowed, as are a folder and a file that is not there; nothing is written."""
    path = tmp_path / "film.mp4"
    path.write_text("not a video")
    (tmp_path / "films").mkdir()
    wrong = {path: "cannot be", tmp_path / "films": "is a folder", tmp_path / "no.mp4": "there is no such file"}
    for video, says in wrong.items():
        with pytest.raises(InputError, match=rf"^{video}: {says}.*; allowed: a whole video file \(AVI, ") as caught:
            upscale(trained.path, video, Request(label="cross"), tmp_path / "out")
        assert str(caught.value).count(video.name) == 1
    assert not (tmp_path / "out").exists()
