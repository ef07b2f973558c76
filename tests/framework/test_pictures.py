"""Pictures and films against pixels laid out by hand."""

import numpy as np
import pytest
import torch
from PIL import Image

from framework.pictures import contact_sheet, save_picture, side_by_side, to_pixels

WHITE = 255


def video(*frames) -> torch.Tensor:
    """A batch of one grey video from frames given as rows of uint8 values."""
    pixels = torch.tensor(frames, dtype=torch.float32)
    return (pixels / 127.5 - 1)[None, :, None].expand(-1, -1, 3, -1, -1)


def flat(*values: int, side: int) -> torch.Tensor:
    """A video whose frames are each of one value."""
    return video(*[[[value] * side] * side for value in values])


def grey(picture: np.ndarray) -> np.ndarray:
    """One channel of a picture whose three are equal."""
    assert picture.dtype == np.uint8
    assert (picture == picture[..., :1]).all()
    return picture[..., 0]


def blocks(picture: np.ndarray, factor: int) -> np.ndarray:
    """A picture that was enlarged by ``factor``, made small again; every square is of one value."""
    small = picture[::factor, ::factor]
    assert (np.repeat(np.repeat(small, factor, 0), factor, 1) == picture).all()
    return small


def test_values_to_pixels():
    """-1 is black, 1 white, values between are rounded, values beyond clipped; fewer than three channels are grey."""
    values = torch.tensor([-2.0, -1.0, 0.0, 0.5, 1.0, 3.0]).reshape(1, 1, 1, 2, 3)
    expected = [[0, 0, 128], [191, 255, 255]]
    for channels in (1, 2, 3, 4):
        pixels = to_pixels(values.expand(-1, -1, channels, -1, -1))
        assert pixels.shape == (1, 1, 2, 3, 3)
        assert grey(pixels[0, 0]).tolist() == expected
    colours = torch.tensor([-1.0, 0.0, 1.0]).reshape(1, 1, 3, 1, 1)
    assert to_pixels(colours).flatten().tolist() == [0, 128, 255]


def test_every_byte_survives():
    """uint8 to [-1, 1] and back, as data goes through a stage, is the identity."""
    values = torch.arange(256, dtype=torch.float32)
    assert to_pixels((values / 127.5 - 1).reshape(1, 1, 1, 16, 16))[0, 0, ..., 0].flatten().tolist() == list(range(256))


def test_a_contact_sheet_by_hand():
    """Two samples of 1x1/2 and 2x2/4: per sample a row per stage at one size, the same two moments, gaps of white."""
    low = torch.cat([flat(10, 20, side=1), flat(30, 40, side=1)])
    high = torch.cat(
        [video(*([[v, v + 1], [v + 2, v + 3]] for v in (50, 60, 70, 80))), flat(100, 110, 120, 130, side=2)]
    )
    sheet = contact_sheet({"base": low, "full": high})
    w = WHITE
    rows = [
        [10, 10, w, 20, 20],
        [10, 10, w, 20, 20],
        [w] * 5,
        [50, 51, w, 70, 71],
        [52, 53, w, 72, 73],
        *[[w] * 5] * 4,
        [30, 30, w, 40, 40],
        [30, 30, w, 40, 40],
        [w] * 5,
        [100, 100, w, 120, 120],
        [100, 100, w, 120, 120],
    ]
    factor = 26  # the least whole one that makes 5 pixels at least 2 * 64
    assert sheet.shape == (14 * factor, 5 * factor, 3)
    assert blocks(grey(sheet), factor).tolist() == rows


def test_moments_of_long_videos_are_the_same_in_all_stages():
    """Of 25, 50 and 100 frames the sheet shows the same twelve moments, each where a frame of the base begins."""
    base = flat(*range(0, 250, 10), side=4)
    mid = flat(*(value + k for value in range(0, 250, 10) for k in (0, 5)), side=8)
    full = flat(*(value + k for value in range(0, 250, 10) for k in (0, 2, 5, 7)), side=64)
    sheet = grey(contact_sheet({"base": base, "mid": mid, "full": full}))
    assert sheet.shape == (3 * 64 + 2, 12 * 64 + 11)
    rows = sheet[::65, ::65].tolist()
    assert rows == [[0, 20, 40, 60, 80, 100, 120, 140, 160, 180, 200, 220]] * 3


def test_a_film_by_hand():
    """Three samples of 64x64/2 and 128x128/4: stages side by side, samples two in a row, the last place empty."""
    low = torch.cat([flat(10 + k, 20 + k, side=64) for k in range(3)])
    high = torch.cat([flat(50 + k, 60 + k, 70 + k, 80 + k, side=128) for k in range(3)])
    film = side_by_side({"base": low, "full": high})
    tile, sample = 128, 2 * 128 + 2
    assert film.shape == (4, 2 * 128 + 8, 2 * sample + 8, 3)
    for time, picture in enumerate(grey(film)):
        expected = np.full((2 * 128 + 8, 2 * sample + 8), WHITE)
        for k, (top, left) in enumerate([(0, 0), (0, sample + 8), (128 + 8, 0)]):
            expected[top : top + tile, left : left + tile] = (10, 20)[time // 2] + k
            expected[top : top + tile, left + tile + 2 : left + 2 * tile + 2] = (50, 60, 70, 80)[time] + k
        np.testing.assert_array_equal(picture, expected)


@pytest.mark.parametrize(("side", "shown"), [(8, 128), (48, 144), (127, 254), (128, 128), (130, 130)])
def test_films_are_large_enough_and_even(side, shown):
    """Small videos are enlarged by a whole factor to 128 pixels or more; encoders get even sizes."""
    film = side_by_side({"only": flat(0, side=side)}, columns=1)
    assert film.shape == (1, shown, shown, 3)
    film = side_by_side({"only": flat(0, side=131)}, columns=1)
    assert film.shape == (1, 132, 132, 3)
    assert film[0, 131].min() == WHITE


def test_files_open_again(tmp_path):
    """A PNG holds the very pixels."""
    film = np.zeros((3, 8, 6, 3), np.uint8)
    film[1, :4], film[2, :, :3] = 255, 255
    save_picture(tmp_path / "new" / "picture.png", film[1])
    assert (np.asarray(Image.open(tmp_path / "new/picture.png")) == film[1]).all()
    assert sorted(path.name for path in tmp_path.rglob("*.*")) == ["picture.png"]


def test_a_full_disk_is_named(tmp_path):
    """Where a picture cannot be written whole, the error has its path, and no half of one stays in its place."""
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    noise = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, limits[1]))
    try:
        with pytest.raises(OSError, match=r"File too large: '.*/picture\.png'"):
            save_picture(tmp_path / "picture.png", noise[0])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(tmp_path.glob("*.png"))
