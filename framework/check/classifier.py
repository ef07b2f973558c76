"""The check of a classifier's spec before any device is touched: every error at once, each with its path."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from components.classifiers import Classifier
from framework.check.names import check_component, check_name
from framework.check.repair import structure_what_can_be
from framework.check.views import as_tensor
from framework.classifier import ClassifierExperiment
from registry import CLASSIFIERS, DATASETS, InputError
from registry.convert import unstructure

_CLASSES, _BATCH = 3, 2
_META = torch.device("meta")


def check_classifier(spec: ClassifierExperiment | dict[str, Any]) -> ClassifierExperiment:
    """The spec (plain data or an experiment) as one of a classifier that can be trained.

    In order: fields and their types; names and options of components; the network, built and run on the meta device,
    which holds no data. How many classes there are, the data says later.

    Raises:
        InputError: with every problem found.
    """
    data = unstructure(spec) if isinstance(spec, ClassifierExperiment) else spec
    experiment, findings = structure_what_can_be(data, ClassifierExperiment)
    if experiment is not None:
        check_name(experiment.name, findings)
        check_component(findings, DATASETS, experiment.data, "data")
        check_component(findings, CLASSIFIERS, experiment.network, "network")
        if findings.sound("clip", "network"):
            findings.attempt("network", partial(_run, experiment), {"clip": "clip"})
    if findings.problems:
        raise InputError(findings.problems) from findings.cause
    assert experiment is not None  # noqa: S101  # no experiment means problems, raised above
    return experiment


def _run(experiment: ClassifierExperiment) -> None:
    """The network takes the clip and gives features and scores, of its own training mode and of the other."""
    clip = experiment.clip
    with _META:
        network: Classifier = CLASSIFIERS.build(experiment.network, "network", clip=clip, classes=_CLASSES)
    if clip.frames < network.min_frames:
        what = f"looks at {clip.frames} frames, but {experiment.network.type} needs {network.min_frames}"
        raise InputError.of("clip", what, f"at least {network.min_frames} frames")
    for mode in (True, False):
        made = network.train(mode)(torch.zeros(clip.shape(_BATCH), device=_META))
        wanted = [(_BATCH, network.dim), (_BATCH, _CLASSES)]
        if not isinstance(made, tuple) or [tuple(each.shape) for each in made if isinstance(each, Tensor)] != wanted:
            said = " and ".join(map(as_tensor, made)) if isinstance(made, tuple) else as_tensor(made)
            what = f"makes {said} of {_BATCH} clips and {_CLASSES} classes"
            raise InputError.of("", what, f"features of shape {wanted[0]} and scores of shape {wanted[1]}")
