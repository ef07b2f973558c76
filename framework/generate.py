"""Generate from a run: samples of every stage, as films, pictures or a Zarr group."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import attrs
import torch
import zarr
from torch import Tensor

from framework.artifact import load_cascade, read_manifest
from framework.cascade import Cascade
from framework.checkpoint import naming
from framework.pictures import FILM_RATE, contact_sheet, save_film, save_gif, save_picture, side_by_side, to_pixels
from framework.randomness import generator_at
from framework.run_folder import RunFolder
from registry import InputError
from registry.progress import Progress

FORMATS = ("mp4", "png", "gif", "zarr")
BATCH = 8
"""Samples generated at a time."""


@attrs.frozen(kw_only=True)
class Request:
    """What to generate."""

    stage: str | None = None
    """The last stage of the cascade; None is the last one of the graph."""
    count: int = 8
    frames: int | None = None
    """Length of the video; None is the stage's own."""
    label: str | None = None
    """Name of a class; None takes the classes in turn."""
    sigma: float = 1.0
    """Standard deviation of the noise; the paper's pictures are made at 0.5."""
    seed: int = 0
    formats: tuple[str, ...] = ("mp4", "png")
    rate: int = FILM_RATE
    """Frames per second of films."""


@torch.no_grad()
def generate(run: RunFolder, request: Request, out: Path) -> list[Path]:
    """Generate videos of the run's cascade into ``out``.

    Sample ``k`` depends on the seed and on ``k`` alone, not on how many samples are made.

    Returns:
        The files and folders written.

    Raises:
        InputError: a stage is unknown or not trained, an artifact is damaged, a class is unknown, or a
            length was asked for that the stage has no batch-norm statistics of. Nothing is written then.
    """
    experiment = run.experiment()
    name = request.stage or _only_leaf(experiment.graph.leaves())
    chain = experiment.graph.chain(name)
    cascade = load_cascade(run.artifacts(experiment), experiment, name)
    _check_length(request, cascade)
    labels = _labels(request, read_manifest(run.artifact(chain[-1].name)).classes)
    cascade.to("cuda" if torch.cuda.is_available() else "cpu")

    parts: list[dict[str, Tensor]] = []
    numbers = range(request.count)
    with Progress(total=request.count, desc="generate", unit="video") as bar:
        for first in range(0, request.count, BATCH):
            batch = numbers[first : first + BATCH]
            noise = sample_noise(cascade, request.seed, batch, request.sigma)
            y = None if labels is None else labels[first : first + BATCH].to(cascade.device)
            parts.append({stage: video.cpu() for stage, video in cascade.videos(noise, y).items()})
            bar.update(len(batch))
    videos = {stage: torch.cat([part[stage] for part in parts]) for stage in parts[0]}
    return _write(videos, request, out / f"{experiment.name}_{name}", labels)


def sample_noise(cascade: Cascade, seed: int, numbers: Sequence[int], sigma: float) -> list[Tensor]:
    """Every stage's noise for the samples ``numbers``, ``(len(numbers), noise_dim)`` each, N(0, sigma²)."""
    noise = []
    for link in cascade.links:
        rows = [torch.randn(link.generator.noise_dim, generator=generator_at(seed, link.name, k)) for k in numbers]
        noise.append((sigma * torch.stack(rows)).to(cascade.device))
    return noise


def _only_leaf(leaves: Sequence[object]) -> str:
    names = [str(getattr(leaf, "name")) for leaf in leaves]  # noqa: B009
    if len(names) > 1:
        raise InputError.of("--stage", "the cascade has several ends; say which", allowed=", ".join(names))
    return names[0]


def _check_length(request: Request, cascade: Cascade) -> None:
    if request.frames not in (None, cascade.clip.frames):
        raise InputError.of(
            "--frames",
            f"{request.frames} frames: other lengths than the trained clip's are not built yet",
            allowed=str(cascade.clip.frames),
        )


def _labels(request: Request, classes: Sequence[str] | None) -> Tensor | None:
    """The class of every sample, int64 ``(count,)``; None when unconditional."""
    if classes is None:
        if request.label is not None:
            raise InputError.of("--label", f"{request.label!r}: the cascade is unconditional", allowed="no --label")
        return None
    if request.label is None:
        return torch.arange(request.count) % len(classes)
    if request.label not in classes:
        raise InputError.unknown("--label", "class", request.label, classes)
    return torch.full((request.count,), list(classes).index(request.label))


def _write(videos: Mapping[str, Tensor], request: Request, stem: Path, labels: Tensor | None) -> list[Path]:
    stem.parent.mkdir(parents=True, exist_ok=True)
    write: dict[str, Callable[[Path], None]] = {
        "mp4": lambda path: save_film(path, side_by_side(videos), request.rate),
        "png": lambda path: save_picture(path, contact_sheet(videos)),
        "gif": lambda path: save_gif(path, side_by_side(videos), request.rate),
        "zarr": lambda path: _save_zarr(path, videos, request, labels),
    }
    paths = []
    for kind in request.formats:
        path = stem.with_name(f"{stem.name}.{kind}")
        with naming(path):
            write[kind](path)
        paths.append(path)
    return paths


def _save_zarr(path: Path, videos: Mapping[str, Tensor], request: Request, labels: Tensor | None) -> None:
    """A Zarr group with an array ``(count, T, H, W, 3)``, uint8, for each stage."""
    group = zarr.open_group(path, mode="w")
    group.attrs["request"] = json.loads(json.dumps(attrs.asdict(request)))
    group.attrs["labels"] = None if labels is None else labels.tolist()
    for name, video in videos.items():
        pixels = to_pixels(video)
        group.create_array(name, data=pixels, chunks=(1, *pixels.shape[1:]))
