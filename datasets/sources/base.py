"""What a layout finds in a folder."""

from __future__ import annotations

from collections.abc import Mapping
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
    attributes: Mapping[str, str] = attrs.field(factory=dict)
    """What else is known of it: ``{"split": "train"}``."""


@attrs.frozen
class LeftOut:
    """A video that the source lists and that is not ingested."""

    name: str
    reason: str
    """As a clause."""
    split: str | None = None
    """The split that it would have been in, where that is known."""


@attrs.frozen
class Source:
    """The videos to ingest, in the order in which they are stored."""

    videos: tuple[Video, ...]
    classes: tuple[str, ...] | None
    left_out: tuple[LeftOut, ...] = ()


def check_folder(folder: Path) -> None:
    """Refuse what is no folder.

    Raises:
        InputError: there is none.
    """
    if not folder.is_dir():
        what = "this is not a folder" if folder.exists() else "there is no such folder"
        raise InputError.of(str(folder), what, f"a folder of videos ({', '.join(EXTENSIONS)})")


def find_videos(folder: Path, depth: int) -> list[Path]:
    """The videos in ``folder`` and in its folders down to ``depth`` levels, relative to it, sorted.

    Hidden files and folders and other files are passed over.

    Raises:
        InputError: a name is not UTF-8.
    """
    # Patterns of fixed depth, unlike `**`, look into linked folders.
    patterns = ("/".join("*" * number) for number in range(1, depth + 1))
    paths = (path for pattern in patterns for path in visible(folder, pattern) if _is_video(path))
    found = sorted((path.relative_to(folder) for path in paths), key=Path.as_posix)
    if unnamed := [path for path in found if not _is_text(path.as_posix())]:
        raise InputError.of(str(folder), f"the name {str(unnamed[0])!r} is not UTF-8")
    return found


def visible(folder: Path, pattern: str) -> list[Path]:
    """What matches ``pattern`` in ``folder``, sorted, but for what is hidden or lies in a hidden folder of it."""
    found = folder.glob(pattern)
    return sorted(path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts))


def no_videos(folder: Path) -> InputError:
    """The error that ``folder`` holds no videos."""
    return InputError.of(str(folder), "there are no videos in it", allowed=f"files *{', *'.join(EXTENSIONS)}")


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_video(path: Path) -> bool:
    return path.suffix.lower() in EXTENSIONS and path.is_file()
