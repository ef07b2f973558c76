"""The cascade: its declaration, its check, its training and what it generates."""

import components
import datasets  # noqa: F401  # with components, registers all that a spec may name
from components.clip import Clip
from framework.classifier import ClassifierExperiment, ClassifierTraining
from framework.experiment import Experiment, Training, dump, load
from framework.graph import Stage, StageGraph
from registry import use

__all__ = [
    "ClassifierExperiment",
    "ClassifierTraining",
    "Clip",
    "Experiment",
    "Stage",
    "StageGraph",
    "Training",
    "components",
    "dump",
    "load",
    "use",
]
