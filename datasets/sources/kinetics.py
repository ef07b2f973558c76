"""Kinetics as it lies on disk: cut clips ``ID_START_END.mp4``, flat or in folders of their class.

The folders ``train``, ``val`` (or ``validate``) and ``test`` are splits, another folder is a class. Annotations
are all ``.csv`` and ``.txt`` files whose first line names the columns ``youtube_id``, ``time_start`` and
``time_end``, in the source or its folder ``annotations``. What is decided where they are silent:

* A clip in no folder of a class that no annotation names is left out, if there are annotations at all.
* A clip that is annotated without a class (the test split) is kept without a label.
* A clip whose folder and annotation, or two annotations, disagree on its class is left out.
* An annotated clip that is not there is listed as missing.
* Of files of one clip (``.mp4`` and ``.mkv``, or in two folders) the first is kept. One in a folder ``replacement`` or
  ``replacement_for_corrupted_*``, which is no class, goes before; files of several classes are all left out.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import attrs

from datasets.sources.base import LeftOut, Source, Video, check_folder, find_videos, no_videos, visible
from datasets.sources.splits import split_in, split_named
from registry import InputError

NAME = re.compile(r"(?P<id>.+)_(?P<start>\d+)_(?P<end>\d+)")
"""An id may hold ``_`` itself, and begin with ``-``."""

Key: TypeAlias = tuple[str, int, int]


@attrs.define
class _Annotation:
    """What the annotations say of a clip."""

    labels: set[str]
    split: str | None
    found: bool = False


@attrs.frozen
class _Found:
    """A video and what was decided on it."""

    path: Path
    key: Key | None
    label: str | None
    split: str | None
    refused: str | None = None


def list_kinetics(folder: Path) -> Source:
    """The clips of Kinetics in ``folder``, sorted by path, with label and split.

    Raises:
        InputError: there are no videos, or an annotation file cannot be read.
    """
    check_folder(folder)
    paths = find_videos(folder, depth=4)
    if not paths:
        raise no_videos(folder)
    annotations = _read_annotations(folder)
    found = _one_of_each([_decide(path, annotations) for path in paths])
    left_out = [LeftOut(each.path.as_posix(), each.refused, each.split) for each in found if each.refused]
    left_out += [
        LeftOut("{}_{:06d}_{:06d}".format(*key), "is missing: it is annotated, and there is no such file", each.split)
        for key, each in sorted(annotations.items())
        if not each.found
    ]
    kept = [each for each in found if each.refused is None]
    classes = tuple(sorted({each.label for each in kept if each.label is not None}))
    places = {label: place for place, label in enumerate(classes)}
    videos = (
        Video(
            folder / each.path,
            each.path.as_posix(),
            None if each.label is None else places[each.label],
            {} if each.split is None else {"split": each.split},
        )
        for each in kept
    )
    return Source(tuple(videos), classes or None, tuple(left_out))


def _decide(path: Path, annotations: dict[Key, _Annotation]) -> _Found:
    split = next((found for found in map(split_named, path.parts[:-1]) if found), None)
    parent = path.parent.name
    folder = parent if parent and split_named(parent) is None and not _replaces(parent) else None
    match = NAME.fullmatch(path.stem)
    key = _key(match["id"], match["start"], match["end"]) if match else None
    annotation = annotations.get(key) if key else None
    if annotation is None:
        if folder is not None:
            return _Found(path, key, _spelled(folder), split)
        refused = None
        if annotations:
            refused = "has no annotation" if match else "is not named ID_START_END, so no annotation can be its own"
        return _Found(path, key, None, split, refused)
    annotation.found = True
    split = split or annotation.split
    labels = annotation.labels | ({_spelled(folder)} if folder is not None else set())
    if len(labels) > 1:
        return _Found(path, key, None, split, _several(labels))
    return _Found(path, key, next(iter(labels), None), split)


def _several(labels: set[str]) -> str:
    return f"is said to be of several classes: {', '.join(sorted(labels))}"


def _one_of_each(found: list[_Found]) -> list[_Found]:
    """``found``, where of the files of one clip all but one are refused."""
    files: dict[Key, list[_Found]] = {}
    for each in found:
        if each.key is not None and each.refused is None:
            files.setdefault(each.key, []).append(each)
    refused: dict[Path, str] = {}
    for same in files.values():
        if len(labels := {each.label for each in same if each.label is not None}) > 1:
            refused |= {each.path: _several(labels) for each in same}
            continue
        kept = min(same, key=lambda each: not any(map(_replaces, each.path.parts[:-1])))
        refused |= {each.path: f"is the same clip as {kept.path.as_posix()}" for each in same if each is not kept}
    return [attrs.evolve(each, refused=each.refused or refused.get(each.path)) for each in found]


def _replaces(folder: str) -> bool:
    """Whether a folder is one of those that hold sound files of clips whose own are broken."""
    return folder == "replacement" or folder.startswith("replacement_for_corrupted")


def _read_annotations(folder: Path) -> dict[Key, _Annotation]:
    """All that is annotated, by clip."""
    places = (folder, folder / "annotations")
    files = sorted(file for place in places for end in ("*.csv", "*.txt") for file in visible(place, end))
    read: dict[Key, _Annotation] = {}
    for file in files:
        for key, label, split in _rows(file):
            known = read.setdefault(key, _Annotation(set(), split))
            known.split = known.split or split
            if label:
                known.labels.add(_spelled(label))
    return read


def _rows(file: Path) -> Iterator[tuple[Key, str, str | None]]:
    """Clip, class and split of each line of an annotation file; nothing of another file."""
    with file.open(newline="", encoding="utf-8-sig", errors="replace") as lines:
        rows = csv.DictReader(lines, skipinitialspace=True)
        while row := _next_row(file, rows):
            try:
                key = _key(row["youtube_id"], row["time_start"], row["time_end"])
            except (TypeError, ValueError, OverflowError):
                where, what = f"{file}:{rows.line_num}", "does not give youtube_id, time_start and time_end"
                raise InputError.of(where, what) from None
            yield key, row.get("label") or "", split_named(row.get("split") or "") or split_in(file.stem)


def _next_row(file: Path, rows: csv.DictReader[str]) -> dict[str | Any, str | Any] | None:
    """The next line of an annotation file, None at the end and where it is no annotation file."""
    line = 1
    try:
        if not {"youtube_id", "time_start", "time_end"} <= set(rows.fieldnames or ()):
            return None
        line = rows.line_num + 1
        row = next(rows, None)
    except csv.Error as error:
        raise InputError.of(f"{file}:{line}", f"is not CSV ({error})") from None
    if row is not None and any("\n" in value for value in row.values() if isinstance(value, str)):
        raise InputError.of(f"{file}:{line}", "has a quote that is not closed")
    return row


def _key(name: str, start: str, end: str) -> Key:
    return name, int(float(start)), int(float(end))


def _spelled(label: str) -> str:
    """A class by one spelling: as the name of a folder it has ``_`` for spaces."""
    return " ".join(label.strip().strip('"').replace("_", " ").split())
