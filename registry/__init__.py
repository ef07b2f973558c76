"""Names, typed options and the one form of error: the floor that everything else stands on."""

from registry.component import Component, use
from registry.errors import InputError, Problem
from registry.kinds import CLASSIFIERS, DATASETS, DISCRIMINATORS, FEATURES, GENERATORS, KINDS, LOSSES, METRICS, VIEWS
from registry.registry import Registry
from registry.types import AtLeastZero, Fraction, NonNegative, Positive, PositiveFloat, ProperFraction, Range

__all__ = [
    "CLASSIFIERS",
    "DATASETS",
    "DISCRIMINATORS",
    "FEATURES",
    "GENERATORS",
    "KINDS",
    "LOSSES",
    "METRICS",
    "VIEWS",
    "AtLeastZero",
    "Component",
    "Fraction",
    "InputError",
    "NonNegative",
    "Positive",
    "PositiveFloat",
    "Problem",
    "ProperFraction",
    "Range",
    "Registry",
    "use",
]
