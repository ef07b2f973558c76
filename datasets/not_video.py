"""What a file is that a video was expected in, told by how it begins."""

from __future__ import annotations

from pathlib import Path

_BEGINNING = 4096
"""Bytes that are looked at."""
_BOX = 8
"""Bytes of an MP4 box's size and name."""


def what_it_is(path: Path) -> str | None:
    """A clause on the commonest of what downloads leave in place of a video; None when it looks like one.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        beginning = file.read(_BEGINNING)
    if not beginning:
        return "is empty"
    if not beginning.strip(b"\0"):
        return "begins with nothing but zeros"
    text = beginning.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return "is a web page"
    if text.startswith(b"<?xml"):
        return "is XML"
    if text.startswith((b"{", b'["', b"[{")):
        return "is JSON"
    if beginning[4:8] == b"ftyp" and "moov" not in _boxes(path):
        return "is an MP4 without the list of its frames (moov), as a download that was cut short"
    return None


def _boxes(path: Path) -> list[str]:
    """Names of the outermost boxes of an MP4, as far as they are whole."""
    names: list[str] = []
    place, end = 0, path.stat().st_size
    with path.open("rb") as file:
        while place + _BOX <= end:
            file.seek(place)
            size, name = int.from_bytes(file.read(4)), file.read(4)
            if size == 1:  # the size follows in eight bytes
                size = int.from_bytes(file.read(8))
            if size < _BOX:  # to the end of the file, or no box
                size = end - place
            names.append(name.decode("latin-1"))
            place += size
    return names
