"""A folder of videos, its subfolders the classes."""

from __future__ import annotations

from pathlib import Path

import attrs

from registry import InputError

EXTENSIONS = (".avi", ".mkv", ".mov", ".mp4", ".webm")


@attrs.frozen
class Video:
    """One video of a source."""

    path: Path
    name: str
    """Its path inside the source, with forward slashes."""
    label: int | None
    """Index of its class."""


@attrs.frozen
class Source:
    """The videos to ingest, in the order in which they are stored."""

    videos: tuple[Video, ...]
    classes: tuple[str, ...] | None


def list_folder(folder: Path) -> Source:
    """The videos of ``folder/CLASS/``, or without classes those of ``folder`` itself, sorted by name.

    Other files and hidden ones are passed over.

    Raises:
        InputError: there are no videos, or they lie both in the folder and in subfolders, or deeper.
    """
    if not folder.is_dir():
        raise InputError.of(str(folder), "there is no such folder" if not folder.exists() else "this is not a folder")
    # Patterns of fixed depth, unlike `**`, look into linked folders.
    paths = (path for depth in ("*", "*/*", "*/*/*") for path in folder.glob(depth) if _is_video(path))
    found = sorted((path.relative_to(folder) for path in paths), key=Path.as_posix)
    depths = {len(path.parts) for path in found}
    if not found:
        raise InputError.of(str(folder), "there are no videos in it", allowed=f"files *{', *'.join(EXTENSIONS)}")
    if unnamed := [path for path in found if not _is_text(path.as_posix())]:
        raise InputError.of(str(folder), f"the name {str(unnamed[0])!r} is not UTF-8")
    if deep := [path for path in found if len(path.parts) > 2]:
        what = f"{deep[0]} lies too deep ({len(deep)} such videos)"
        raise InputError.of(str(folder), what, allowed="videos in SOURCE/CLASS/, or in SOURCE itself")
    if len(depths) > 1:
        loose = next(path for path in found if len(path.parts) == 1)
        what = f"some videos lie in subfolders (classes) and some, such as {loose}, beside them"
        raise InputError.of(str(folder), what, allowed="videos in SOURCE/CLASS/, or in SOURCE itself")
    classes = tuple(sorted({path.parts[0] for path in found})) if depths == {2} else None
    videos = (
        Video(folder / path, path.as_posix(), None if classes is None else classes.index(path.parts[0]))
        for path in found
    )
    return Source(tuple(videos), classes)


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_video(path: Path) -> bool:
    return path.suffix.lower() in EXTENSIONS and not path.name.startswith(".") and path.is_file()
