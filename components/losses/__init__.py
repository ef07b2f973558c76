"""Adversarial losses over the scores of a stage's discriminators."""

from components.losses.adversarial import GeometricHinge, NonSaturating
from components.losses.base import AdversarialLoss

__all__ = ["AdversarialLoss", "GeometricHinge", "NonSaturating"]
