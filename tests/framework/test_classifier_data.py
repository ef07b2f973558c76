"""Which clips a classifier learns and which it is judged by, and the data that it refuses."""

import hashlib

import numpy as np
import pytest

from datasets import VideoDataset
from framework import ClassifierExperiment, ClassifierTraining, Clip, use
from framework.classifier_data import LabelledClips, held_out_clips, middle, open_labelled
from registry import DATASETS, InputError


class NumberedClips(VideoDataset):
    """Clips whose every pixel is the clip's number and the frame's: 16 * clip + frame."""

    def __init__(
        self,
        *,
        lengths: tuple[int, ...] = (6,) * 12,
        labels: tuple[int | None, ...] | None = (0, 1) * 6,
        classes: int = 2,
        stride: int = 1,
        short: str = "error",
    ) -> None:
        self.height = self.width = 4
        self.channels, self.stride, self.short, self.fingerprint = 3, stride, short, "numbered"
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
        self.check_window(clip, start, frames)
        values = 16 * clip + np.arange(start, start + frames, dtype=np.uint8)
        return np.broadcast_to(values[:, None, None, None], (frames, 4, 4, 3)).copy()


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    """The dataset above can be named in specs, for as long as a test lasts."""
    monkeypatch.setitem(DATASETS._classes.module_dict, "NumberedClips", NumberedClips)


def experiment(clip=None, held_out=0.3, **options):
    return ClassifierExperiment(
        name="numbered",
        data=use("NumberedClips", **options),
        clip=clip or Clip(4, 4, 4),
        training=ClassifierTraining(held_out=held_out),
    )


def fraction(name):
    """A name's hash as a fraction, to within what a double holds."""
    return int(hashlib.sha256(name.encode()).hexdigest(), 16) / 2**256


def test_the_split_is_by_the_hash_of_names():
    """Every clip is in exactly one part, told by its name alone; more clips move none of those there."""
    dataset = NumberedClips()
    learnt, held_out = held_out_clips(dataset, 0.3, 4)
    fractions = {clip: fraction(dataset.name(clip)) for clip in range(12)}
    assert sorted(held_out) == [clip for clip in range(12) if fractions[clip] < 0.3]
    assert held_out == sorted(held_out, key=fractions.get)
    assert sorted(learnt + held_out) == list(range(12))
    more = NumberedClips(lengths=(6,) * 20, labels=(0, 1) * 10)
    assert {clip for clip in held_out_clips(more, 0.3, 4)[1] if clip < 12} == set(held_out)


def test_short_clips_are_in_neither():
    """Where the dataset says to skip them."""
    dataset = NumberedClips(lengths=(6, 3) * 6, short="skip")
    learnt, held_out = held_out_clips(dataset, 0.3, 4)
    assert all(clip % 2 == 0 for clip in learnt + held_out)


def test_only_clips_to_learn_are_read():
    """Each once per epoch, with its label, at every offset; a function of seed and position."""
    dataset = NumberedClips()
    clips, _ = held_out_clips(dataset, 0.3, 4)
    samples = LabelledClips(dataset, clips, 4, seed=5)
    assert samples.shape == (4, 4, 4, 3)
    seen, starts = [], set()
    for position in range(10 * len(clips)):
        out = np.zeros(samples.shape, np.uint8)
        label = samples.read(position, out)
        clip, start = divmod(int(out[0, 0, 0, 0]), 16)
        assert (out[:, 0, 0, 0] == 16 * clip + np.arange(start, start + 4)).all()
        assert label == clip % 2
        seen.append(clip)
        starts.add(start)
        again = np.zeros(samples.shape, np.uint8)
        LabelledClips(NumberedClips(), clips, 4, seed=5).read(position, again)
        assert (again == out).all()
    for epoch in range(10):
        assert sorted(seen[epoch * len(clips) : (epoch + 1) * len(clips)]) == clips
    assert starts == {0, 1, 2}


def test_clips_are_judged_by_their_middle():
    """Of six frames the four from the second on."""
    assert middle(NumberedClips(), 2, 4)[:, 0, 0, 0].tolist() == [33, 34, 35, 36]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"lengths": (), "labels": ()}, "data .*: holds no clip"),
        ({"clip": Clip(4, 8, 8)}, "data .*: clip is 8x8/4 @1, but the clips are 4x4; allowed: clips of 8x8"),
        (
            {"stride": 2},
            "data .*: clip has stride 1, but the clips have stride 2; allowed: clips ingested with --stride 1",
        ),
        (
            {"clip": Clip(7, 4, 4)},
            "data .*: clip has 7 frames, but 12 of 12 clips have fewer .*; allowed: clip.frames of",
        ),
        ({"labels": None}, "data .*: the clips have no labels, so there is nothing to tell apart"),
        ({"labels": (0,) * 12, "classes": 1}, "data .*: the clips have one class \\(class0\\)"),
        ({"labels": (0, None) * 6}, "data .*: 6 clips have no label \\(clip1.mp4\\); allowed: a label for every clip"),
        ({"classes": 3}, "training.held_out: 0.3 leaves no clip of 1 classes to learn \\(class2\\)"),
        ({"held_out": 1e-6}, "training.held_out: 1e-06 of 12 clips holds out none to judge by; allowed: more of it"),
    ],
)
def test_data_that_does_not_do(changes, said):
    """Each in one line, with what is allowed."""
    with pytest.raises(InputError, match=f"^{said}") as error:
        open_labelled(experiment(**changes))
    assert len(error.value.problems) == 1


def test_all_that_is_wrong_is_said_at_once():
    """Another size and another stride are two lines; data that does is opened."""
    with pytest.raises(InputError) as error:
        open_labelled(experiment(clip=Clip(4, 8, 8, stride=3)))
    assert len(error.value.problems) == 2
    assert len(open_labelled(experiment())) == 12
