"""The dataset against the graph: that what is on disk can train what is declared."""

from __future__ import annotations

import numpy as np

from components.clip import Clip
from datasets import VideoDataset
from framework.experiment import Experiment
from registry import DATASETS, InputError, Problem


def open_data(experiment: Experiment) -> VideoDataset:
    """The experiment's dataset, fit for its graph.

    Raises:
        InputError: it cannot be opened, is empty, or its clips have another size, another stride, too few
            frames, or other classes than the graph has; every problem at once.
    """
    dataset: VideoDataset = DATASETS.build(experiment.data, "data")
    if problems := _problems(experiment, dataset):
        raise InputError(problems)
    return dataset


def _problems(experiment: Experiment, dataset: VideoDataset) -> list[Problem]:
    where = f"data ({experiment.data})"
    if len(dataset) == 0:
        return [Problem(where, "holds no clip")]
    return [
        *clip_problems(experiment.graph.clip, "graph.clip", dataset, where),
        *_classes(experiment, dataset, where),
    ]


def clip_problems(clip: Clip, at: str, dataset: VideoDataset, where: str) -> list[Problem]:
    """What keeps a dataset from having clips of ``clip``.

    Args:
        clip: wanted.
        at: the clip's path in the spec.
        dataset: looked at.
        where: place of the problems.
    """
    if len(dataset) == 0:
        return [Problem(where, "holds no clip")]
    problems = []
    wanted = (clip.height, clip.width, clip.channels)
    there = (dataset.height, dataset.width, dataset.channels)
    if wanted != there:
        what = f"{at} is {clip}, but the clips are {_size(there)}"
        problems.append(Problem(where, what, f"clips of {_size(wanted)}"))
    if dataset.stride != clip.stride:
        what = f"{at} has stride {clip.stride}, but the clips have stride {dataset.stride}"
        problems.append(Problem(where, what, f"clips ingested with --stride {clip.stride}"))
    return problems + _short_clips(clip.frames, at, dataset, where)


def _short_clips(frames: int, at: str, dataset: VideoDataset, where: str) -> list[Problem]:
    lengths = dataset.lengths()
    short = np.flatnonzero(lengths < frames)
    if len(short) == 0 or (dataset.short == "skip" and len(short) < len(dataset)):
        return []
    what = (
        f"{at} has {frames} frames, but {len(short)} of {len(dataset)} clips have fewer "
        f"({dataset.name(int(short[0]))} has {lengths[short[0]]})"
    )
    if len(short) == len(dataset):
        return [Problem(where, what, f"{at}.frames of at most {lengths.max()}")]
    return [Problem(where, what, 'short="skip" in data to leave them out')]


def _classes(experiment: Experiment, dataset: VideoDataset, where: str) -> list[Problem]:
    classes = experiment.graph.classes
    if classes is None:
        return []
    if dataset.classes is None:
        return [Problem(where, f"graph.classes is {classes}, but the clips have no labels", "graph.classes=null")]
    if len(dataset.classes) != classes:
        what = f"graph.classes is {classes}, but the clips have {len(dataset.classes)} classes"
        return [Problem(where, what, f"graph.classes={len(dataset.classes)}")]
    unlabelled = [clip for clip in range(len(dataset)) if dataset.label(clip) is None]
    if unlabelled:
        what = f"graph.classes is {classes}, but {len(unlabelled)} clips have no label ({dataset.name(unlabelled[0])})"
        return [Problem(where, what, "a label for every clip")]
    return []


def _size(size: tuple[int, int, int]) -> str:
    height, width, channels = size
    return f"{height}x{width}" + ("" if channels == 3 else f" with {channels} channel{'s' * (channels != 1)}")
