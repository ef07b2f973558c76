"""Whether what ``training.evaluate`` asks for can be measured: known, but for what the data shows, from the spec."""

from __future__ import annotations

from collections.abc import Sequence

from components.features import FeatureNetwork
from components.metrics import Metric
from framework.build import stage_path
from framework.experiment import Experiment
from framework.graph import Stage
from framework.measures import Compared, refuse_too_large, refuse_unmeasurable
from registry import FEATURES, METRICS, InputError
from registry.errors import join

Networks = dict[str, FeatureNetwork]
"""Feature networks by the component that names them, so that stages that name the same one share it."""


def evaluation_metrics(experiment: Experiment, stage: Stage) -> list[Metric]:
    """The metrics of ``training.evaluate``, new ones."""
    source = experiment.graph[stage.source] if stage.source else stage
    window, time = stage.training_clip.frames, stage.clip.frames // source.clip.frames
    classes, where = experiment.graph.classes, _where(stage)
    return [
        METRICS.build(component, f"{where}[{number}]", classes=classes, window=window, time=time)
        for number, component in enumerate(experiment.training_of(stage).evaluate)
    ]


def evaluation_network(experiment: Experiment, stage: Stage, known: Networks) -> FeatureNetwork | None:
    """The network of ``training.evaluate_features``, one of ``known`` or added to them; None where none is needed.

    Raises:
        InputError: it cannot be built: its weights are missing or damaged, or an option is refused.
    """
    training = experiment.training_of(stage)
    if not training.evaluate or training.evaluate_features is None:
        return None
    name = str(training.evaluate_features)
    if name not in known:
        known[name] = FEATURES.build(training.evaluate_features, join(stage_path(stage), "training.evaluate_features"))
    return known[name]


def refuse_evaluation(stage: Stage, metrics: Sequence[Metric], network: FeatureNetwork | None, of: Compared) -> None:
    """Refuse what cannot be measured on the stage's videos.

    Raises:
        InputError: on the metric, or on ``training.evaluate`` where all of them together take too much memory.
    """
    for number, metric in enumerate(metrics):
        try:
            refuse_unmeasurable(metric, network, of)
        except InputError as error:
            raise InputError.of(f"{_where(stage)}[{number}]", error.problems[0].what) from None
    refuse_too_large(metrics, network, of, _where(stage))


def _where(stage: Stage) -> str:
    return join(stage_path(stage), "training.evaluate")
