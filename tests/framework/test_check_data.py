"""The dataset against the graph: whatever keeps it from being trained on is said before training."""

import attrs
import numpy as np
import pytest
from small_specs import base_stage, small

from datasets import VideoDataset
from framework import Clip, use
from framework.check_data import open_data
from registry import DATASETS, InputError


class ListedClips(VideoDataset):
    """Black clips of the lengths and labels that options list."""

    def __init__(
        self,
        *,
        lengths: tuple[int, ...] = (8, 8),
        size: tuple[int, int, int] = (8, 8, 3),
        stride: int = 1,
        labels: tuple[int | None, ...] | None = (0, 1),
        classes: int = 4,
        short: str = "error",
    ) -> None:
        self.height, self.width, self.channels = size
        self.stride, self.short, self.fingerprint = stride, short, "listed"
        self.classes = None if labels is None else tuple(f"class{number}" for number in range(classes))
        self._lengths, self._labels = lengths, labels

    def __len__(self):
        return len(self._lengths)

    def frames(self, clip):
        return self._lengths[clip]

    def label(self, clip):
        return None if self._labels is None else self._labels[clip]

    def name(self, clip):
        return f"clip{clip}.mp4"

    def window(self, clip, start, frames):
        return np.zeros((frames, self.height, self.width, self.channels), np.uint8)


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    """The dataset above can be named in specs, for as long as a test lasts."""
    monkeypatch.setitem(DATASETS._classes.module_dict, "ListedClips", ListedClips)


def experiment(classes=4, clip=None, **options):
    """A graph on 8x8/8 @1 (or ``clip``) and the dataset above."""
    clip = clip or Clip(8, 8, 8)
    return small(base_stage(clip=clip), clip=clip, classes=classes, data=use("ListedClips", **options))


@pytest.mark.parametrize(
    ("spec", "clips"),
    [
        (small(), 8),
        (experiment(), 2),
        (experiment(lengths=[8, 9, 100], labels=[0, 1, 2]), 3),
        (experiment(lengths=[8, 7], short="skip"), 2),
        (experiment(classes=None, labels=None), 2),
        (experiment(classes=None), 2),
        (experiment(clip=Clip(8, 4, 6, channels=1, stride=2), size=[4, 6, 1], stride=2), 2),
    ],
    ids=["synthetic", "fitting", "longer", "short ones skipped", "unlabelled", "labels unused", "other size"],
)
def test_data_that_fits(spec, clips):
    """Is opened, and returned."""
    assert len(open_data(spec)) == clips


@pytest.mark.parametrize(
    ("spec", "lines"),
    [
        (experiment(lengths=[]), ["holds no clip"]),
        (
            experiment(size=[4, 8, 3]),
            ["graph.clip is 8x8/8 @1, but the clips are 4x8; allowed: clips of 8x8"],
        ),
        (
            experiment(size=[8, 8, 1]),
            ["graph.clip is 8x8/8 @1, but the clips are 8x8 with 1 channel; allowed: clips of 8x8"],
        ),
        (
            experiment(stride=4),
            ["graph.clip has stride 1, but the clips have stride 4; allowed: clips ingested with --stride 1"],
        ),
        (
            experiment(lengths=[8, 7, 3], labels=[0, 1, 2]),
            [
                "graph.clip has 8 frames, but 2 of 3 clips have fewer (clip1.mp4 has 7); "
                'allowed: short="skip" in data to leave them out'
            ],
        ),
        (
            experiment(lengths=[7, 3], short="skip"),
            [
                "graph.clip has 8 frames, but 2 of 2 clips have fewer (clip0.mp4 has 7); "
                "allowed: graph.clip.frames of at most 7"
            ],
        ),
        (
            experiment(lengths=[7, 3]),
            [
                "graph.clip has 8 frames, but 2 of 2 clips have fewer (clip0.mp4 has 7); "
                "allowed: graph.clip.frames of at most 7"
            ],
        ),
        (
            experiment(labels=None),
            ["graph.classes is 4, but the clips have no labels; allowed: graph.classes=null"],
        ),
        (
            experiment(classes=3),
            ["graph.classes is 3, but the clips have 4 classes; allowed: graph.classes=4"],
        ),
        (
            experiment(labels=[0, None]),
            ["graph.classes is 4, but 1 clips have no label (clip1.mp4); allowed: a label for every clip"],
        ),
        (
            experiment(classes=7, size=[4, 4, 3], stride=2, lengths=[8, 3]),
            [
                "graph.clip is 8x8/8 @1, but the clips are 4x4; allowed: clips of 8x8",
                "graph.clip has stride 1, but the clips have stride 2; allowed: clips ingested with --stride 1",
                "graph.clip has 8 frames, but 1 of 2 clips have fewer (clip1.mp4 has 3); "
                'allowed: short="skip" in data to leave them out',
                "graph.classes is 7, but the clips have 4 classes; allowed: graph.classes=4",
            ],
        ),
    ],
    ids=[
        "empty", "size", "channels", "stride", "some too short", "all too short though skipped", "all too short",
        "no labels", "other classes", "a label missing", "everything",
    ],
)  # fmt: skip
def test_data_that_does_not_fit(spec, lines):
    """What does not fit is a line each, all of them at once, with what would fit."""
    with pytest.raises(InputError) as caught:
        open_data(spec)
    assert [str(problem) for problem in caught.value.problems] == [f"data ({spec.data}): {line}" for line in lines]


def test_data_that_cannot_be_opened(tmp_path):
    """A dataset that refuses to open says so under its option."""
    with pytest.raises(InputError, match=r"^data\.path.*there is no such store"):
        open_data(attrs.evolve(small(), data=use("ClipStore", path=tmp_path / "none.zarr")))
