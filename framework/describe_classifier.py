"""What a classifier's experiment would train, in words."""

from __future__ import annotations

import json
from typing import Any

import torch

from framework.classifier import ClassifierExperiment
from framework.classifier_data import RULE
from registry import CLASSIFIERS
from registry.convert import unstructure


def describe_classifier(experiment: ClassifierExperiment) -> str:
    """The experiment as text."""
    facts = describe_facts(experiment)
    rows = [
        ("data", facts["data"]),
        ("network", f"{facts['parameters']:,} parameters for two classes, {facts['network']}"),
        ("training", f"{facts['iterations']} iterations of {facts['batch_size']} clips"),
        ("held out", facts["held_out"]),
    ]
    width = max(len(name) for name, _ in rows)
    lines = [f"{experiment.name}: classifier of {experiment.clip}"]
    return "\n".join(lines + [f"   {name:<{width}}  {text}" for name, text in rows])


def describe_classifier_json(experiment: ClassifierExperiment) -> str:
    """The same as JSON."""
    return json.dumps(describe_facts(experiment), indent=2)


def describe_facts(experiment: ClassifierExperiment) -> dict[str, Any]:
    """The facts; the network is built on the meta device. How many classes it scores, the data would say."""
    with torch.device("meta"):
        network = CLASSIFIERS.build(experiment.network, "network", clip=experiment.clip, classes=2)
    return {
        "name": experiment.name,
        "kind": experiment.kind,
        "clip": unstructure(experiment.clip),
        "data": str(experiment.data),
        "network": str(experiment.network),
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "features": network.dim,
        "iterations": experiment.training.iterations,
        "batch_size": experiment.training.batch_size,
        "held_out": RULE.format(share=experiment.training.held_out),
    }
