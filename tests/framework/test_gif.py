"""GIFs, frame by frame."""

from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from framework.gif import GifWriter


def test_a_gif_opens_again(tmp_path):
    """It holds the frames at the asked pace, without end; each frame has colours of its own."""
    film = np.zeros((3, 8, 6, 3), np.uint8)
    film[1, :4], film[2, :, :3] = (255, 20, 90), (3, 200, 77)
    writer = GifWriter(tmp_path / "film.gif", rate=10)
    for frame in film:
        writer.write(frame)
    writer.close()
    with Image.open(tmp_path / "film.gif") as gif:
        assert (gif.n_frames, gif.size, gif.info["duration"], gif.info["loop"]) == (3, (6, 8), 100, 0)
        for number in range(3):
            gif.seek(number)
            assert (np.asarray(gif.convert("RGB")) == film[number]).all()


@pytest.mark.parametrize("rate", [1, 12, 30, 50, 60, 100, Fraction(60000, 1001), 240])
def test_a_gif_lasts_as_long_as_its_frames(tmp_path, rate):
    """Whatever the rate, two seconds last two seconds, and nothing is shown too briefly for viewers to keep to it."""
    count = round(2 * rate)
    writer = GifWriter(tmp_path / "film.gif", rate)
    for number in range(count):
        writer.write(np.full((4, 4, 3), number % 256, np.uint8))
    writer.close()
    with Image.open(tmp_path / "film.gif") as gif:
        durations = []
        for number in range(gif.n_frames):
            gif.seek(number)
            durations.append(gif.info["duration"])
    assert min(durations) >= 20
    assert sum(durations) == pytest.approx(1000 * count / rate, abs=10 + 1000 * 5 / rate)
    assert len(durations) == count or rate > 50
