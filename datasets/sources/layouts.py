"""The layouts of video files on disk that can be ingested."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import attrs

from datasets.sources.base import Source
from datasets.sources.bdd100k import list_bdd100k
from datasets.sources.folder import list_folder
from datasets.sources.kinetics import list_kinetics
from registry import InputError

LAYOUTS: dict[str, Callable[[Path], Source]] = {
    "bdd100k": list_bdd100k,
    "folder": list_folder,
    "kinetics": list_kinetics,
}


@attrs.frozen
class SourceFolder:
    """A folder of videos and how it is laid out."""

    path: Path
    layout: str = "folder"
    splits: tuple[str, ...] = ()
    """Only videos of these splits; all when empty."""

    def list(self) -> Source:
        """The videos in it.

        Raises:
            InputError: the folder is not laid out so, or has no videos of these splits.
        """
        source = LAYOUTS[self.layout](self.path)
        return _only(source, self.splits) if self.splits else source

    def describe(self) -> dict[str, Any]:
        """Itself as plain data."""
        return {"source": str(self.path.resolve()), "layout": self.layout, "splits": sorted(self.splits)}


def _only(source: Source, splits: Sequence[str]) -> Source:
    there = {video.attributes["split"] for video in source.videos if "split" in video.attributes}
    if unknown := sorted(set(splits) - there):
        allowed = ", ".join(sorted(there)) or "none, for its videos have no splits"
        raise InputError.of("--split", f"the source has no videos of split {unknown[0]!r}", allowed=allowed)
    videos = tuple(video for video in source.videos if video.attributes.get("split") in splits)
    left_out = tuple(each for each in source.left_out if each.split is None or each.split in splits)
    return attrs.evolve(source, videos=videos, left_out=left_out)
