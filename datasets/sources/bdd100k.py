"""BDD100K as it lies on disk: ``videos/{train,val,test}/*.mov``.

What the dataset says beside the videos is used where it is there:

* Lists of a split's videos, ``train.txt`` and so on (one name a line, with or without folder and ending), in the
  source, ``splits/`` or ``videos/``; and the drives' records ``info/100k/train/*.json``. A video that they name
  and that is not there is listed as missing; one that they do not name, though they name others of its split, is
  left out.
* Of two files of one drive, ``.mov`` and ``.mp4``, the first is kept.
* Labels, ``labels/**/*.json``: files of images, or one file per image, with ``name`` and ``attributes``. The
  attributes ``weather``, ``scene`` and ``timeofday`` are kept of each video.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from datasets.sources.base import EXTENSIONS, LeftOut, Source, Video, check_folder, find_videos, no_videos, visible
from registry import InputError

SPLITS = ("train", "val", "test")
ATTRIBUTES = ("weather", "scene", "timeofday")


def list_bdd100k(folder: Path) -> Source:
    """The videos of BDD100K in ``folder``, by split and name, with the attributes of their labels.

    Raises:
        InputError: there are no videos, or a list or a label file cannot be read.
    """
    check_folder(folder)
    root = folder / "videos" if (folder / "videos").is_dir() else folder
    here = [(split, path) for split in SPLITS if (root / split).is_dir() for path in find_videos(root / split, 1)]
    if not here:
        raise InputError.of(str(folder), "there are no videos in it", allowed="videos/{train,val,test}/*.mov")
    attributes = _read_labels(folder / "labels")
    videos: list[Video] = []
    left_out: list[LeftOut] = []
    for split in SPLITS:
        expected = _expected(folder, root, split)
        paths = [path for of, path in here if of == split]
        first: dict[str, str] = {}
        for path in paths:
            name = (root / split / path).relative_to(folder).as_posix()
            if expected and path.stem not in expected:
                left_out.append(LeftOut(name, f"is not in the official list of {split}", split))
            elif first.setdefault(path.stem, name) != name:
                left_out.append(LeftOut(name, f"is the same drive as {first[path.stem]}", split))
            else:
                known = {"split": split, **attributes.get(path.stem, {})}
                videos.append(Video(folder / name, name, None, known))
        missing = sorted(expected - {path.stem for path in paths})
        reason = f"is missing: it is in the official list of {split}, and there is no such file"
        left_out += [LeftOut(f"{split}/{name}", reason, split) for name in missing]
    if not videos:
        raise no_videos(folder)
    return Source(tuple(videos), None, tuple(left_out))


def _expected(folder: Path, root: Path, split: str) -> set[str]:
    """Names, without endings, of the videos that a split should have; empty when nothing says."""
    lists = {place / f"{split}.txt" for place in (folder, folder / "splits", root)}
    listed = {_stem(line) for file in lists if file.is_file() for line in _lines(file)}
    return listed | {file.stem for file in visible(folder / "info" / "100k" / split, "*.json")}


def _lines(file: Path) -> Iterator[str]:
    try:
        text = file.read_text()
    except UnicodeDecodeError:
        raise InputError.of(str(file), "is not a text file") from None
    return (line.strip() for line in text.splitlines() if line.strip())


def _stem(name: str) -> str:
    path = PurePosixPath(name)
    return path.stem if path.suffix.lower() in (*EXTENSIONS, ".jpg", ".json") else path.name


def _read_labels(folder: Path) -> dict[str, dict[str, str]]:
    """The attributes of every video that has labels."""
    found: dict[str, dict[str, str]] = {}
    for file in visible(folder, "**/*.json"):
        for item in _items(file):
            attributes = item.get("attributes")
            if isinstance(item.get("name"), str) and isinstance(attributes, dict):
                known = {name: value for name in ATTRIBUTES if isinstance(value := attributes.get(name), str)}
                found.setdefault(_stem(item["name"]), {}).update(known)
    return found


def _items(file: Path) -> Iterable[dict[str, Any]]:
    """The images that a label file speaks of."""
    try:
        data = json.loads(file.read_bytes())
    except ValueError as error:
        raise InputError.of(str(file), f"is not JSON ({error})") from None
    if isinstance(data, dict):
        data = data["frames"] if isinstance(data.get("frames"), list) and "attributes" not in data else [data]
    return [item for item in data if isinstance(item, dict)] if isinstance(data, list) else []
