"""GIFs frame by frame; Pillow's own way holds them all."""

from __future__ import annotations

from fractions import Fraction
from math import ceil
from pathlib import Path

from PIL import GifImagePlugin, Image

from framework.pictures import Pixels

FASTEST = 50
"""Frames per second; what is shown for less than two hundredths of a second, viewers show for ten."""


class GifWriter:
    """An endless GIF, each frame with 256 colours of its own.

    Args:
        path: of the file, whatever its ending.
        rate: frames per second. GIFs know hundredths of a second, so frames are shown one more or one less of them; at
            more than 50 a second, which viewers do not play, only every other one is, or every third, and so on.
    """

    def __init__(self, path: Path, rate: int | Fraction) -> None:
        self._file = path.open("wb")
        self._rate, self._step = Fraction(rate), ceil(Fraction(rate) / FASTEST)
        self._given = 0
        self._begun = False

    def write(self, frame: Pixels) -> None:
        """Add a frame, uint8 ``(H, W, 3)``, of the size of those before."""
        number, self._given = self._given, self._given + 1
        if number % self._step:
            return
        begin, end = (round(100 * each / self._rate) for each in (number, number + self._step))
        image = Image.fromarray(frame).quantize()
        if not self._begun:
            blocks, _ = GifImagePlugin.getheader(image, info={"loop": 0})
            self._file.writelines(blocks)
            self._begun = True
        self._file.writelines(
            GifImagePlugin.getdata(image, duration=10 * (end - begin), include_color_table=True, disposal=1)
        )

    def close(self) -> None:
        """Write the end."""
        self._file.write(b";")
        self._file.close()

    def abort(self) -> None:
        """Close the file as it is."""
        self._file.close()
