"""A folder of videos, its subfolders the classes."""

from __future__ import annotations

from pathlib import Path

from datasets.sources.base import Source, Video, check_folder, find_videos, no_videos
from registry import InputError


def list_folder(folder: Path) -> Source:
    """The videos of ``folder/CLASS/``, or without classes those of ``folder`` itself, sorted by name.

    Other files, and hidden files and folders, are passed over.

    Raises:
        InputError: there are no videos, or they lie both in the folder and in subfolders, or deeper.
    """
    check_folder(folder)
    found = find_videos(folder, depth=3)
    if not found:
        raise no_videos(folder)
    depths = {len(path.parts) for path in found}
    if deep := [path for path in found if len(path.parts) > 2]:
        what = f"{deep[0]} lies too deep ({len(deep)} such videos)"
        raise InputError.of(str(folder), what, allowed="videos in SOURCE/CLASS/, or in SOURCE itself")
    if len(depths) > 1:
        loose = next(path for path in found if len(path.parts) == 1)
        what = f"some videos lie in subfolders (classes) and some, such as {loose}, beside them"
        raise InputError.of(str(folder), what, allowed="videos in SOURCE/CLASS/, or in SOURCE itself")
    classes = tuple(sorted({path.parts[0] for path in found})) if depths == {2} else None
    places = {} if classes is None else {name: number for number, name in enumerate(classes)}
    videos = (Video(folder / path, path.as_posix(), places.get(path.parts[0])) for path in found)
    return Source(tuple(videos), classes)
