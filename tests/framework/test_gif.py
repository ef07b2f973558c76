"""GIFs, frame by frame."""

import numpy as np
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
