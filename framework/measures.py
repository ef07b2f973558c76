"""From names to the metrics and the feature network that an evaluation is made with; what cannot be is refused."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import attrs
import torch
from torch import Tensor

from components import ranks
from components.features import FeatureNetwork
from components.metrics import Metric, MetricBatch, Side
from components.views import View
from framework.machine_memory import machine_memory
from framework.overrides import component_data
from framework.trained import Trained
from registry import FEATURES, METRICS, Component, InputError
from registry.cli import note
from registry.convert import structure

NAMES = {
    "fvd": "FVD",
    "fid": "FID",
    "is": "IS",
    "psd": "PSD",
    "grounding": "Grounding",
    "seams": "Seams",
    "motion": "Motion",
}
"""Short names of the metrics that are here; a component's own name does as well, either with options or without."""
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_COMPONENT = re.compile(r"\s*([A-Za-z_]\w*\s*(\(.*)?$|\{)", re.DOTALL)
"""How a component begins; anything else can only be a path."""


def make_features(text: str | None) -> FeatureNetwork | None:
    """The feature network that ``text`` names.

    Raises:
        InputError: there is none of that name, or its weights cannot be read.
    """
    if text is None:
        return None
    if _URL.match(text):
        allowed = f'I3D(weights="{text}", digest="..."), its digest the SHA-256 of the file'
        raise InputError.of("--features", f"{text} could hold anything", allowed)
    if Path(text).is_dir():
        component = Component("InDomainFeatures", {"path": text})
    elif Path(text).is_file():
        component = Component("I3D", {"weights": text})
    elif text and not _COMPONENT.match(text):
        raise InputError.of("--features", f"there is no file or folder {text}", _choices())
    else:
        component = structure(component_data(text, "--features"), Component, "--features")
    network: FeatureNetwork = FEATURES.build(component, "--features")
    return network


@attrs.frozen(kw_only=True)
class Compared:
    """The videos that are to be measured, as far as it decides what can be."""

    frames: int
    count: int
    """Real and generated videos, each."""
    stride: int
    """Of the stage's clip."""
    time: int | None
    """How many of their frames one of the source's stands for; None for a base stage."""
    fewest: tuple[str, int] | None = None
    """The class, among those that are there, that fewest are of, and how many these are; None without classes."""
    classes: int = 0
    """How many classes there are videos of."""


def fewest_of(labels: Tensor | None, classes: Sequence[str] | None) -> tuple[str, int] | None:
    """The class that fewest videos are of, among those that there are videos of, and how many these are.

    Args:
        labels: of all videos, int64 ``(count,)``; None when they have none.
        classes: their names.
    """
    if labels is None or classes is None:
        return None
    count, label = min((count, label) for label, count in Counter(labels.tolist()).items())
    return classes[label], count


def make_metrics(
    trained: Trained,
    network: FeatureNetwork | None,
    names: Sequence[str] | None,
    compared: Compared,
    *,
    per_class: bool,
) -> dict[str, Metric]:
    """The metrics that are asked for; what can not be measured is refused, or left out if nobody named it.

    Args:
        trained: whose videos are measured.
        network: the feature network, if any.
        names: of the metrics, short or as components; None is all that can be measured.
        compared: the videos.
        per_class: whether metrics that have figures of single classes give them.

    Returns:
        The metrics, by what shapes their figures: the components as a person writes them, with the options that are
        not their defaults. One that is named twice is there once.

    Raises:
        InputError: a metric is unknown, or named and cannot be measured.
    """
    metrics: dict[str, Metric] = {}
    for name in names or tuple(NAMES):
        try:
            component = _component(name)
            metric = _metric(component, trained, per_class=per_class)
            refuse_unmeasurable(metric, network, compared)
        except InputError as error:
            if names is not None:
                at = [attrs.evolve(each, where=_OPTIONS.get(each.where, each.where)) for each in error.problems]
                raise InputError(at) from None
            note(f"{name} is left out: {'; '.join(problem.what for problem in error.problems)}")
            continue
        metrics[str(_without(component, "per_class"))] = metric
    refuse_too_large(metrics.values(), network, compared, _OPTIONS["features"])
    if not metrics:
        raise InputError.of("--metrics", "none of them can be measured here", "see the notes above")
    return metrics


_OPTIONS = {name: f"--{name}" for name in ("metrics", "features", "frames", "count")}


def _component(name: str) -> Component:
    """The metric that ``name`` names: short or as a component, with options or without, in upper or lower case."""
    where = "--metrics"
    own, bracket, options = name.partition("(")
    known = {each.lower(): each for each in METRICS.names()} | NAMES
    if own.strip().lower() not in known and not own.lstrip().startswith("{"):
        raise InputError.unknown(where, "metric", own.strip(), [*NAMES])
    text = known.get(own.strip().lower(), own) + bracket + options  # `is` is no name in Python
    return structure(component_data(text, where), Component, where)


def _without(component: Component, name: str) -> Component:
    return Component(component.type, {key: value for key, value in component.options.items() if key != name})


def _metric(component: Component, trained: Trained, *, per_class: bool) -> Metric:
    where = "--metrics"
    if per_class and trained.classes is None:
        raise InputError.of("--per-class", "the cascade has no classes", "no --per-class")
    if per_class and "per_class" in METRICS.options(component.type):
        component = attrs.evolve(component, options={"per_class": True, **component.options})
    stage = trained.stages[-1]
    source = trained.stages[-2].clip.frames if len(trained.stages) > 1 else stage.clip.frames
    metric: Metric = METRICS.build(
        component,
        where,
        classes=None if trained.classes is None else len(trained.classes),
        window=stage.training_clip.frames,
        time=stage.clip.frames // source,
    )
    return metric


def refuse_unmeasurable(metric: Metric, network: FeatureNetwork | None, compared: Compared) -> None:
    """Refuse to measure what cannot be measured: before any video is generated.

    Args:
        metric: what would measure.
        network: the feature network, if any.
        compared: the videos.

    Raises:
        InputError: on ``metrics``, ``features``, ``frames`` or ``count``.
    """
    name, frames = type(metric).__name__, compared.frames
    if metric.needs_low and compared.time is None:
        raise InputError.of("metrics", f"{name} compares videos with what they were made of; this is a base stage")
    least = max(metric.min_frames, compared.time or 1) if metric.needs_low else metric.min_frames
    if frames < least:
        raise InputError.of("frames", f"{name} needs {least} frames, the videos have {frames}")
    if metric.layer is None:
        return
    if network is None:
        raise InputError.of("features", f"{name} compares features, and no network is named", _choices())
    if frames < network.min_frames:
        what = f"the feature network needs {network.min_frames} frames, the videos have {frames}"
        raise InputError.of("features", what, "longer videos, or another network")
    if network.stride not in (None, compared.stride):
        stride = compared.stride
        what = f"the feature network was trained on clips of stride {network.stride}, the videos have stride {stride}"
        raise InputError.of("features", what, f"a network of stride {stride}")
    dim = _dim(metric, network)
    if dim is None:
        raise InputError.of("features", f"{name} compares logits, which the network does not have", "a classifier")
    needed, of_features = metric.least_videos(dim), f"{name} of features of {dim} dimensions"
    if compared.count < needed:
        what = f"{of_features} needs {needed} videos, there are {compared.count}"
        raise InputError.of("count", what, f"at least {needed}")
    if metric.per_class and compared.fewest is not None and compared.fewest[1] < needed:
        label, count = compared.fewest
        what = f"{of_features} needs {needed} videos of each class, of {label} there are {count}"
        raise InputError.of("count", what, "more videos, fewer dimensions, or all classes as one")


def _dim(metric: Metric, network: FeatureNetwork) -> int | None:
    """Of the features that the metric compares."""
    return network.dim if metric.layer == "pooled" else network.logits_dim


def refuse_too_large(
    metrics: Iterable[Metric], network: FeatureNetwork | None, compared: Compared, where: str = "features"
) -> None:
    """Refuse sums that the machine cannot hold, which grow with dimensions and classes; say of large ones how large.

    All processes that share the videos hold their own: those on one machine have its memory together.

    Args:
        metrics: that all can be measured.
        network: the feature network, if any.
        compared: the videos.
        where: place of the problem.

    Raises:
        InputError: saying how much they take, and what makes it less.
    """
    if network is None:
        return
    taken = sum(metric.memory(_dim(metric, network) or 0, compared.classes) for metric in metrics if metric.layer)
    # Where several add theirs up, each holds its own, the total, and another's as it comes.
    taken *= 1 if ranks.world() == 1 else 3
    there, here = machine_memory(), ranks.local_world()
    each = "" if ranks.world() == 1 else f" in each of the {here} processes on this machine"
    what = f"sums of outer products of features take {taken / 1e9:,.1f} GB of memory{each}"
    if taken * here > there:
        allowed = "features of fewer dimensions, or figures of all classes as one"
        allowed += ", or fewer processes" if here > 1 else ""
        raise InputError.of(where, f"{what}, and there are {there / 1e9:,.1f} GB", allowed)
    if taken > _MUCH:
        note(f"{what}; of fewer dimensions, or without figures of every class, they take less")


_MUCH = 10**9
"""Bytes of which it is said beforehand that they are needed."""


def viewed(view: View, videos: Tensor, low: Tensor) -> tuple[Tensor, Tensor]:
    """The view of generated videos, and what they were made of: as many frames of both as the videos fill.

    Args:
        view: leads from the videos to ``low``.
        videos: ``(B, T, C, H, W)``, at least as many frames as one of ``low`` stands for.
        low: ``(B, T_l, C_l, H_l, W_l)``; its last frame may stand for frames that the videos do not have.
    """
    frames = videos.shape[1] // view.time
    return view(videos[:, : frames * view.time]), low[:, :frames]


@torch.no_grad()
def look(side: Side, batch: MetricBatch, metrics: Iterable[Metric], network: FeatureNetwork | None) -> None:
    """Have every metric look at some videos, their features computed once."""
    metrics = [metric for metric in metrics if side in metric.sides]
    if network is not None and any(metric.layer is not None for metric in metrics):
        batch = attrs.evolve(batch, features=network(batch.videos))
    for metric in metrics:
        metric.update(side, batch)


def _choices() -> str:
    return f"{', '.join(FEATURES.names())}, or a path"
