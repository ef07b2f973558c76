"""Discriminators: videos to scores (appendix B)."""

from components.discriminators.base import Discriminator
from components.discriminators.matching import MatchingDiscriminator
from components.discriminators.spatial import SpatialDiscriminator
from components.discriminators.temporal import TemporalDiscriminator
from components.discriminators.timm_discriminator import TimmDiscriminator

__all__ = [
    "Discriminator",
    "MatchingDiscriminator",
    "SpatialDiscriminator",
    "TemporalDiscriminator",
    "TimmDiscriminator",
]
