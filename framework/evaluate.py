"""Measure a trained cascade's videos against real ones; every figure says how."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import torch
from mmengine.device import get_device

from components import ranks
from components.features import FeatureNetwork
from components.metrics import Figure, Metric, MetricBatch
from datasets import VideoDataset
from framework.artifact import versions
from framework.build import build_stage_view
from framework.check_data import open_data
from framework.figures import Record
from framework.measures import Compared, fewest_of, look, make_features, make_metrics, viewed
from framework.noise import sample_noise
from framework.real_clips import RealClips
from framework.together import sum_over_ranks, together
from framework.trained import Loaded, Trained, find, open_cascade
from registry import Component, InputError, Problem
from registry.progress import Progress


@attrs.frozen(kw_only=True)
class Request:
    """What to measure, and how."""

    stage: str | None = None
    """The last stage of the cascade; None is the last one of the graph."""
    store: str | None = None
    """A clip store of real videos; None is the experiment's own data."""
    metrics: tuple[str, ...] | None = None
    """Metrics by name; None is all that can be measured."""
    features: str | None = None
    """A feature network: a component, or the path of a file of weights or of a trained classifier."""
    frames: int | None = None
    """Length of the videos; None is the stage's clip's."""
    count: int | None = None
    """Real and generated videos, each; None is as many as there are clips."""
    batch: int = 16
    """Videos at a time, on each rank."""
    sigma: float = 1.0
    """Standard deviation of the noise; the paper measures at 1."""
    seed: int = 0
    per_class: bool = False
    """A figure for each class as well, of metrics that have them."""


def evaluate(path: Path, request: Request) -> list[Record]:
    """The figures of the cascade in ``path``, a run or an artifact.

    Videos are looked at batch by batch and summed up; ranks share them, and all have the figures.

    Raises:
        InputError: before anything is generated: what is asked for cannot be measured, and why.
    """
    trained = together(lambda: find(path, request.stage))
    loaded = together(lambda: open_cascade(trained, request.frames))
    network = together(lambda: make_features(request.features))
    dataset = together(lambda: _data(trained, request.store))
    stage, frames = trained.stages[-1], request.frames or trained.stages[-1].clip.frames
    real = together(lambda: RealClips(dataset, trained.experiment, stage, frames, request.seed))
    count = together(lambda: _count(request, real))
    compared = together(lambda: _compared(trained, frames, count, real))
    metrics = together(lambda: make_metrics(trained, network, request.metrics, compared, per_class=request.per_class))
    device = torch.device(get_device())
    if network is not None:
        network.to(device)
    loaded.cascade.to(device)
    batches = [range(first, min(first + request.batch, count)) for first in range(0, count, request.batch)]
    mine = batches[ranks.rank() :: ranks.world()]

    def look_at_all() -> None:
        with Progress(total=sum(map(len, mine)), desc=f"evaluate {trained.name}", unit="video") as bar:
            for numbers in mine:
                look("real", _real(real, numbers, device), metrics.values(), network)
                generated = _generated(trained, loaded, request, real, numbers, metrics)
                look("generated", generated, metrics.values(), network)
                bar.update(len(numbers))

    together(look_at_all)
    for metric in metrics.values():
        metric.load_sums(sum_over_ranks(metric.sums()))
    protocol = _protocol(trained, loaded, request, real, dataset, count, frames)
    return together(
        lambda: [
            _record(figure, metric, name, network, protocol, trained.classes)
            for name, metric in metrics.items()
            for figure in metric.figures()
        ]
    )


def _data(trained: Trained, store: str | None) -> VideoDataset:
    experiment = trained.experiment
    if store is not None:
        experiment = attrs.evolve(experiment, data=Component("ClipStore", {"path": store, "short": "skip"}))
    try:
        dataset = open_data(experiment)
        _refuse_other_classes(dataset.classes, trained.classes)
    except InputError as error:
        raise InputError(_of_option(problem, store, trained) for problem in error.problems) from None
    return dataset


def _of_option(problem: Problem, store: str | None, trained: Trained) -> Problem:
    """The same problem, with the option that names the data, or may name other."""
    if store is not None:
        known = "" if store in problem.what else f"{store}: "
        # The graph is that of a trained run: another spec is no remedy.
        of_spec = problem.allowed is not None and problem.allowed.startswith("graph.")
        allowed = _fitting(trained) if of_spec else problem.allowed
        return attrs.evolve(problem, where="--store", what=known + problem.what, allowed=allowed)
    allowed = "" if problem.allowed is None else f"{problem.allowed}, or "
    return attrs.evolve(problem, allowed=f"{allowed}another store of real videos by --store")


def _fitting(trained: Trained) -> str:
    """The stores that a run can be measured on."""
    clip = trained.experiment.graph.clip
    classes, more = trained.classes or (), ", ..." if len(trained.classes or ()) > 4 else ""
    labels = f" with the run's {len(classes)} classes ({', '.join(classes[:4])}{more})" if classes else ""
    return f"a store of clips of {clip}{labels}"


def _refuse_other_classes(there: tuple[str, ...] | None, here: tuple[str, ...] | None) -> None:
    if here is None or there == here:  # labels are places in this list
        return
    place = next(place for place, names in enumerate(zip(there or (), here, strict=True)) if names[0] != names[1])
    what = f"class {place} is {(there or ())[place]!r} there, and {here[place]!r} was trained"
    raise InputError.of("data", what, "the classes that it was trained on, in order")


def _compared(trained: Trained, frames: int, count: int, real: RealClips) -> Compared:
    stage = trained.stages[-1]
    view = build_stage_view(stage)
    labels = None if trained.classes is None else real.labels(range(count))
    return Compared(
        frames=frames,
        count=count,
        stride=stage.clip.stride,
        time=None if view is None else view.time,
        fewest=fewest_of(labels, trained.classes),
        classes=0 if labels is None else len(set(labels.tolist())),
    )


def _count(request: Request, real: RealClips) -> int:
    if request.count is not None and request.count > len(real):
        what = f"{request.count} videos, but {len(real)} clips are long enough"
        raise InputError.of("--count", what, f"at most {len(real)}")
    return request.count or len(real)


def _real(real: RealClips, numbers: Sequence[int], device: torch.device) -> MetricBatch:
    videos = real.videos(numbers, device)
    return MetricBatch(videos=videos, numbers=torch.tensor(list(numbers)), labels=real.labels(numbers))


def _generated(
    trained: Trained,
    loaded: Loaded,
    request: Request,
    real: RealClips,
    numbers: Sequence[int],
    metrics: dict[str, Metric],
) -> MetricBatch:
    """Generated videos of the classes of the real ones of the same numbers."""
    cascade = loaded.cascade
    labels = real.labels(numbers) if trained.classes is not None else None
    noise = sample_noise(cascade, request.seed, numbers, request.sigma)
    videos = cascade.videos(noise, None if labels is None else labels.to(cascade.device), request.frames)
    last = videos[trained.name]
    if not torch.isfinite(last).all():
        raise InputError.of("--sigma", f"at {request.sigma:g} generated videos are not finite", "a smaller one")
    batch = MetricBatch(videos=last, numbers=torch.tensor(list(numbers)), labels=labels)
    if not any(metric.needs_low for metric in metrics.values()):
        return batch
    view = build_stage_view(trained.stages[-1])
    assert view is not None  # noqa: S101  # a stage with a source has one
    seen, low = viewed(view, last, videos[trained.stages[-2].name])
    return attrs.evolve(batch, low=low, viewed=seen)


def _protocol(
    trained: Trained,
    loaded: Loaded,
    request: Request,
    real: RealClips,
    dataset: VideoDataset,
    count: int,
    frames: int,
) -> dict[str, Any]:
    clip = trained.stages[-1].clip
    own = trained.manifests[trained.name].data
    return {
        "stage": trained.name,
        "videos": {"real": count, "generated": count, "clips_long_enough": len(real), "clips": len(dataset)},
        "frames": frames,
        "stride": clip.stride,
        "size": f"{clip.height}x{clip.width}",
        "value_range": "[-1, 1]",
        "labels": None if trained.classes is None else "generated videos have the real ones' classes",
        "split": "the data that it was trained on"
        if dataset.fingerprint == own
        else "other data than it was trained on",
        "seed": request.seed,
        "sigma": request.sigma,
        "statistics": loaded.statistics,
        "artifact": trained.digest,
        "store": dataset.fingerprint,
        "versions": versions(),
    }


def _record(
    figure: Figure,
    metric: Metric,
    name: str,
    network: FeatureNetwork | None,
    protocol: dict[str, Any],
    classes: tuple[str, ...] | None,
) -> Record:
    featured = metric.layer is not None and network is not None
    own = {
        "features": network.identity() if network is not None and featured else None,
        "layer": metric.layer,
        "interval": metric.interval or None,
        "metric_options": None if name.endswith("()") else name,
    }
    return Record(
        metric=figure.name,
        value=figure.value,
        interval=figure.interval,
        label=None if figure.label is None or classes is None else classes[figure.label],
        detail=dict(figure.detail),
        protocol={**protocol, **own},
    )
