"""What the stages make, beside what they learn: films inside of the page."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import attrs
import torch
from mmengine.device import get_device
from torch import Tensor

from datasets.encode import write_video
from framework.check_data import open_data
from framework.noise import sample_noise
from framework.pictures import FILM_RATE, compose, film_side, to_pixels
from framework.real_clips import RealClips
from framework.report.html import Html, join, missing, picture, tag, video
from framework.trained import Trained, open_cascade
from registry import InputError

MOST_TILES = 8
"""Videos beside each other in the film of all stages."""
MOST_LOOKED_AT = 10_000
"""Clips among which real ones of the samples' classes are looked for."""


@attrs.frozen(kw_only=True)
class Shown:
    """Which samples the page shows."""

    samples: int = 8
    sigma: float = 0.5
    """Of the noise; the paper's pictures are made at 0.5."""
    seed: int = 0


def sample_films(trained: Trained, shown: Shown) -> Html:
    """All stages of each sample side by side; for every stage what it generates beside real videos of its clip.

    All films last as long, and real videos are of the classes of the generated ones beside them.
    """
    numbers, classes = range(shown.samples), trained.classes
    cascade = open_cascade(trained).cascade.to(get_device())
    labels = None if classes is None else torch.arange(shown.samples, device=cascade.device) % len(classes)
    videos = cascade.videos(sample_noise(cascade, shown.seed, numbers, shown.sigma), labels)
    columns = min(4, shown.samples)
    longest = max(stage.clip.frames for stage in trained.stages)
    names = [] if classes is None or labels is None else [classes[label] for label in labels.tolist()]
    cards = [_stages(trained, videos, longest, names)] if len(trained.stages) > 1 else []
    wanted = None if labels is None else labels.tolist()
    for stage in trained.stages:
        rate = Fraction(FILM_RATE * stage.clip.frames, longest)
        caption = f"generated at sigma {shown.sigma:g}, seed {shown.seed}" + _rows(names, columns)
        made = _film([videos[stage.name]], rate, f"Samples of stage {stage.name}", caption, columns)
        real = _real(trained, stage.name, shown, rate, columns, wanted)
        cards.append(
            tag("div", tag("h3", f"{stage.name}: {stage.clip}"), tag("div", made, real, class_="pair"), class_="card")
        )
    button = tag("button", "Pause", type="button", id="play")
    return join([tag("p", button), *cards])


def amid_training(name: str, folder: Path) -> Html:
    """The latest picture of a stage that still trains; nothing where there is none."""
    pictures = sorted(folder.glob("iter_*.png"))
    if not pictures:
        return join([])
    about = f"Samples of all stages up to {name}, iteration {int(pictures[-1].stem.removeprefix('iter_')):,}"
    shown = tag("figure", picture(pictures[-1].read_bytes(), about), tag("figcaption", about))
    return tag("div", tag("h3", f"{name}, amid its training"), shown, class_="card")


def _stages(trained: Trained, videos: dict[str, Tensor], longest: int, names: list[str]) -> Html:
    """Each sample's stages side by side, as ``tools/generate.py`` shows them."""
    order = [stage.name for stage in trained.stages]
    columns = max(1, MOST_TILES // len(order))
    caption = f"each sample, from left to right {', '.join(order)}" + _rows(names, columns)
    rate = Fraction(FILM_RATE)
    film = _film([videos[name] for name in order], rate, "Stages of each sample side by side", caption, columns)
    return tag("div", tag("h3", "All stages"), film, class_="card")


def _real(
    trained: Trained, name: str, shown: Shown, rate: Fraction, columns: int, wanted: Sequence[int] | None
) -> Html:
    experiment, stage = trained.experiment, trained.experiment.graph[name]
    try:
        dataset = open_data(experiment)
        clips = RealClips(dataset, experiment, stage, stage.clip.frames, shown.seed)
    except InputError as error:
        return missing(f"No real videos here: {error.problems[0]}")
    numbers = _alike(clips, wanted, shown.samples)
    labels, classes = clips.labels(numbers), dataset.classes
    names = [] if labels is None or classes is None else [classes[label] for label in labels.tolist()]
    other = "" if dataset.fingerprint == trained.manifests[name].data else ", of other data than it was trained on"
    videos = clips.videos(numbers, torch.device("cpu"))
    return _film(
        [videos], rate, f"Real videos as stage {name} learns them", f"real{other}" + _rows(names, columns), columns
    )


def _alike(clips: RealClips, wanted: Sequence[int] | None, count: int) -> list[int]:
    """Numbers of clips of the ``wanted`` classes in their order, others where there are too few of a class."""
    if wanted is None or clips.labels([0]) is None:
        return list(range(min(count, len(clips))))
    found: dict[int, int] = {}
    spare: list[int] = []
    for number in range(min(len(clips), MOST_LOOKED_AT)):
        labels = clips.labels([number])
        label = None if labels is None else int(labels[0])
        place = next((i for i, each in enumerate(wanted) if each == label and i not in found), None)
        if place is None:
            spare.append(number)
        else:
            found[place] = number
        if len(found) == len(wanted):
            break
    for place in range(len(wanted)):
        if place not in found and spare:
            found[place] = spare.pop(0)
    return [found[place] for place in sorted(found)]


def _film(stages: Sequence[Tensor], rate: Fraction, label: str, caption: str, columns: int) -> Html:
    pixels = [to_pixels(videos) for videos in stages]
    frames, side = max(each.shape[1] for each in pixels), film_side(max(each.shape[2] for each in pixels))
    film = (
        compose([each[:, time * each.shape[1] // frames] for each in pixels], side, columns) for time in range(frames)
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "film.mp4"
        write_video(path, film, rate)
        data = path.read_bytes()
    return tag("figure", video(data, label), tag("figcaption", caption))


def _rows(names: list[str], columns: int) -> str:
    """The classes of a grid of videos, row by row."""
    rows = [", ".join(names[start : start + columns]) for start in range(0, len(names), columns)]
    return "" if not rows else ": " + " / ".join(rows)
