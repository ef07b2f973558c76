"""What the stages make, beside what they learn: films inside of the page."""

from __future__ import annotations

import tempfile
from fractions import Fraction
from pathlib import Path

import attrs
import numpy as np
import torch
from mmengine.device import get_device
from torch import Tensor

from datasets.encode import write_video
from framework.check_data import open_data
from framework.experiment import Experiment
from framework.generate import sample_noise
from framework.pictures import FILM_RATE, compose, film_side, to_pixels
from framework.real_clips import RealClips
from framework.report.html import Html, join, missing, tag, video
from framework.trained import Trained, open_cascade
from registry import InputError


@attrs.frozen(kw_only=True)
class Shown:
    """Which samples the page shows."""

    samples: int = 8
    sigma: float = 0.5
    """Of the noise; the paper's pictures are made at 0.5."""
    seed: int = 0


def sample_films(trained: Trained, shown: Shown) -> Html:
    """For every stage what it generates beside real videos of its clip, all of one duration."""
    numbers, classes = range(shown.samples), trained.classes
    cascade = open_cascade(trained).cascade.to(get_device())
    labels = None if classes is None else torch.arange(shown.samples, device=cascade.device) % len(classes)
    videos = cascade.videos(sample_noise(cascade, shown.seed, numbers, shown.sigma), labels)
    columns = min(4, shown.samples)
    longest = max(stage.clip.frames for stage in trained.stages)
    names = [] if classes is None or labels is None else [classes[label] for label in labels.tolist()]
    cards = []
    for stage in trained.stages:
        rate = Fraction(FILM_RATE * stage.clip.frames, longest)
        caption = f"generated at sigma {shown.sigma:g}, seed {shown.seed}" + _rows(names, columns)
        made = _film(videos[stage.name], rate, f"Samples of stage {stage.name}", caption, columns)
        real = _real(trained.experiment, trained, stage.name, shown, rate, columns)
        cards.append(
            tag("div", tag("h3", f"{stage.name}: {stage.clip}"), tag("div", made, real, class_="pair"), class_="card")
        )
    button = tag("button", "Pause", type="button", id="play")
    return join([tag("p", button), *cards])


def _real(experiment: Experiment, trained: Trained, name: str, shown: Shown, rate: Fraction, columns: int) -> Html:
    stage = experiment.graph[name]
    try:
        dataset = open_data(experiment)
        clips = RealClips(dataset, experiment, stage, stage.clip.frames, shown.seed)
    except InputError as error:
        return missing(f"No real videos here: {error.problems[0]}")
    numbers = range(min(shown.samples, len(clips)))
    labels, classes = clips.labels(numbers), dataset.classes
    names = [] if labels is None or classes is None else [classes[label] for label in labels.tolist()]
    other = "" if dataset.fingerprint == trained.manifests[name].data else ", of other data than it was trained on"
    videos = clips.videos(numbers, torch.device("cpu"))
    return _film(
        videos, rate, f"Real videos as stage {name} learns them", f"real{other}" + _rows(names, columns), columns
    )


def _film(videos: Tensor, rate: Fraction, label: str, caption: str, columns: int) -> Html:
    pixels = to_pixels(videos)
    side = film_side(pixels.shape[2])
    film = np.stack([compose([pixels[:, time]], side, columns) for time in range(pixels.shape[1])])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "film.mp4"
        write_video(path, film, rate)
        data = path.read_bytes()
    return tag("figure", video(data, label), tag("figcaption", caption))


def _rows(names: list[str], columns: int) -> str:
    """The classes of a grid of videos, row by row."""
    rows = [", ".join(names[start : start + columns]) for start in range(0, len(names), columns)]
    return "" if not rows else ": " + " / ".join(rows)
