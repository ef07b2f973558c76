"""The torch modules a cascade is made of, each usable alone. Importing the package registers them all."""

from components import classifiers, discriminators, features, generators, losses, metrics, views
from components.clip import Clip, FieldOfView, Span

__all__ = [
    "Clip",
    "FieldOfView",
    "Span",
    "classifiers",
    "discriminators",
    "features",
    "generators",
    "losses",
    "metrics",
    "views",
]
