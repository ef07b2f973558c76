"""Kinetics as it lies on disk: cut clips ``ID_START_END.mp4``, flat or in folders of their class.

The folders ``train``, ``val`` (or ``validate``) and ``test`` are splits, another folder is a class. Annotations
are all ``.csv`` and ``.txt`` files whose first line names the columns ``youtube_id``, ``time_start`` and
``time_end``, in the source or its folder ``annotations``. What is decided where they are silent:

* A clip in no folder of a class that no annotation names is left out, if there are annotations at all.
* A clip that is annotated without a class (the test split) is kept without a label.
* A clip whose folder and annotation, or two annotations, disagree on its class is left out.
* An annotated clip that is not there is listed as missing.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

import attrs

from datasets.sources.base import LeftOut, Source, Video, check_folder, find_videos, no_videos
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
    found = [_decide(path, annotations) for path in paths]
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
    folder = path.parent.name if len(path.parts) > 1 and split_named(path.parent.name) is None else None
    match = NAME.fullmatch(path.stem)
    annotation = annotations.get(_key(match["id"], match["start"], match["end"])) if match else None
    if annotation is None:
        if folder is not None:
            return _Found(path, _spelled(folder), split)
        refused = None
        if annotations:
            refused = "has no annotation" if match else "is not named ID_START_END, so no annotation can be its own"
        return _Found(path, None, split, refused)
    annotation.found = True
    split = split or annotation.split
    labels = annotation.labels | ({_spelled(folder)} if folder is not None else set())
    if len(labels) > 1:
        return _Found(path, None, split, f"is said to be of several classes: {', '.join(sorted(labels))}")
    return _Found(path, next(iter(labels), None), split)


def _read_annotations(folder: Path) -> dict[Key, _Annotation]:
    """All that is annotated, by clip."""
    places = (folder, folder / "annotations")
    files = sorted(file for place in places for end in ("*.csv", "*.txt") for file in place.glob(end))
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
        if not {"youtube_id", "time_start", "time_end"} <= set(rows.fieldnames or ()):
            return
        for row in rows:
            try:
                key = _key(row["youtube_id"], row["time_start"], row["time_end"])
            except (TypeError, ValueError):
                where, what = f"{file}:{rows.line_num}", "does not give youtube_id, time_start and time_end"
                raise InputError.of(where, what) from None
            yield key, row.get("label") or "", split_named(row.get("split") or "") or split_in(file.stem)


def _key(name: str, start: str, end: str) -> Key:
    return name, int(float(start)), int(float(end))


def _spelled(label: str) -> str:
    """A class by one spelling: as the name of a folder it has ``_`` for spaces."""
    return " ".join(label.strip().strip('"').replace("_", " ").split())
