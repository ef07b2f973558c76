"""Which clips a classifier learns, and which it is judged by."""

from __future__ import annotations

import hashlib
from collections import Counter

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from datasets import ClipSampler, Frames, VideoDataset
from framework.check_data import clip_problems
from framework.classifier import ClassifierExperiment
from registry import DATASETS, InputError, Problem

RULE = "clips whose name's SHA-256, as a fraction of all, is below {share:g}"
"""Which clips are held out."""


def open_labelled(experiment: ClassifierExperiment) -> VideoDataset:
    """The experiment's dataset, fit for training a classifier.

    Raises:
        InputError: it cannot be opened, is empty, has clips of another size or stride, or too few frames, or clips
            without a label, or fewer than two classes; or the split leaves nothing to learn a class by, or nothing to
            judge by. Every problem at once.
    """
    dataset: VideoDataset = DATASETS.build(experiment.data, "data")
    where = f"data ({experiment.data})"
    problems = clip_problems(experiment.clip, "clip", dataset, where) or _label_problems(dataset, where)
    problems = problems or _split_problems(experiment, dataset)
    if problems:
        raise InputError(problems)
    return dataset


def held_out_clips(dataset: VideoDataset, share: float, frames: int) -> tuple[list[int], list[int]]:
    """The clips to learn and those held out, each in the dataset's order but the latter in that of their hashes.

    Clips of fewer than ``frames`` frames are in neither.
    """
    lengths = dataset.lengths()
    learnt: list[int] = []
    held_out: list[tuple[float, int]] = []
    for clip in map(int, np.flatnonzero(lengths >= frames)):
        place = int.from_bytes(hashlib.sha256(dataset.name(clip).encode()).digest()[:8], "big") / 2**64
        if place < share:
            held_out.append((place, clip))
        else:
            learnt.append(clip)
    return learnt, [clip for _, clip in sorted(held_out)]


class LabelledClips(Dataset[tuple[Frames, int]]):
    """What stands at each position of the training sequence: a pure function of seed and position.

    Every clip once per epoch, in a seeded order, each at a uniformly drawn temporal offset.

    Args:
        dataset: whose clips all have labels.
        clips: those to learn.
        frames: of each sample.
        seed: of the order and the offsets.
    """

    def __init__(self, dataset: VideoDataset, clips: list[int], frames: int, seed: int) -> None:
        self.dataset, self._clips = dataset, clips
        self._sampler = ClipSampler(dataset.lengths()[clips], frames, seed)
        self.shape = (frames, dataset.height, dataset.width, dataset.channels)

    def read(self, position: int, out: Frames) -> int:
        """Write the frames at ``position`` into ``out``, uint8 of ``shape``, and return their label."""
        place, start = self._sampler(position)
        clip = self._clips[place]
        self.dataset.strided(clip, start, len(out), 1, out=out)
        return label_of(self.dataset, clip)


def middle(dataset: VideoDataset, clip: int, frames: int) -> Tensor:
    """The ``frames`` frames in the middle of a clip, uint8 ``(T, H, W, C)``."""
    return torch.from_numpy(dataset.window(clip, (dataset.frames(clip) - frames) // 2, frames))


def label_of(dataset: VideoDataset, clip: int) -> int:
    """The label of a clip that has one."""
    label = dataset.label(clip)
    if label is None:
        raise InputError.of(dataset.name(clip), "has no label", "a label for every clip")
    return label


def _label_problems(dataset: VideoDataset, where: str) -> list[Problem]:
    classes = dataset.classes
    if classes is None or len(classes) < 2:
        there = "no labels" if classes is None else f"one class ({classes[0]})"
        return [
            Problem(where, f"the clips have {there}, so there is nothing to tell apart", "clips of several classes")
        ]
    unlabelled = [clip for clip in range(len(dataset)) if dataset.label(clip) is None]
    if unlabelled:
        what = f"{len(unlabelled)} clips have no label ({dataset.name(unlabelled[0])})"
        return [Problem(where, what, "a label for every clip")]
    return []


def _split_problems(experiment: ClassifierExperiment, dataset: VideoDataset) -> list[Problem]:
    where, share = "training.held_out", experiment.training.held_out
    learnt, held_out = held_out_clips(dataset, share, experiment.clip.frames)
    there = Counter(label_of(dataset, clip) for clip in learnt)
    missing = [name for label, name in enumerate(dataset.classes or ()) if not there[label]]
    problems = []
    if missing:
        what = f"{share:g} leaves no clip of {len(missing)} classes to learn ({missing[0]})"
        problems.append(Problem(where, what, "less of it, or clips of every class"))
    if not held_out:
        what = f"{share:g} of {len(learnt)} clips holds out none to judge by"
        problems.append(Problem(where, what, "more of it"))
    return problems
