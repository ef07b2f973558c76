"""Metrics: what a cascade's videos are measured by."""

from components.metrics.base import Figure, Layer, Metric, MetricBatch, Side
from components.metrics.frechet import FID, FVD, FrechetDistance, frechet_distance
from components.metrics.grounding import Grounding
from components.metrics.inception_score import IS
from components.metrics.motion import Motion
from components.metrics.psd import PSD, luma, radial_psd
from components.metrics.seams import Seams

__all__ = [
    "FID",
    "FVD",
    "IS",
    "PSD",
    "Figure",
    "FrechetDistance",
    "Grounding",
    "Layer",
    "Metric",
    "MetricBatch",
    "Motion",
    "Seams",
    "Side",
    "frechet_distance",
    "luma",
    "radial_psd",
]
