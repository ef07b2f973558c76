"""GIFs frame by frame; Pillow's own way holds them all."""

from __future__ import annotations

from pathlib import Path

from PIL import GifImagePlugin, Image

from framework.pictures import Pixels


class GifWriter:
    """An endless GIF, each frame with 256 colours of its own.

    Args:
        path: of the file, whatever its ending.
        rate: frames per second; GIFs know hundredths of a second.
    """

    def __init__(self, path: Path, rate: int) -> None:
        self._file = path.open("wb")
        self._milliseconds = round(1000 / rate)
        self._begun = False

    def write(self, frame: Pixels) -> None:
        """Add a frame, uint8 ``(H, W, 3)``, of the size of those before."""
        image = Image.fromarray(frame).quantize()
        if not self._begun:
            blocks, _ = GifImagePlugin.getheader(image, info={"loop": 0})
            self._file.writelines(blocks)
            self._begun = True
        self._file.writelines(
            GifImagePlugin.getdata(image, duration=self._milliseconds, include_color_table=True, disposal=1)
        )

    def close(self) -> None:
        """Write the end."""
        self._file.write(b";")
        self._file.close()

    def abort(self) -> None:
        """Close the file as it is."""
        self._file.close()
