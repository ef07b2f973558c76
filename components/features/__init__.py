"""Feature networks: videos to the features that metrics compare."""

from components.features.base import FeatureNetwork
from components.features.timm_features import TimmFeatures

__all__ = ["FeatureNetwork", "TimmFeatures"]
