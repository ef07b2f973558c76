"""Feature networks: videos to the features that metrics compare."""

from components.features.base import FeatureNetwork, Features
from components.features.i3d import I3D
from components.features.in_domain import InDomainFeatures
from components.features.random_features import RandomFeatures
from components.features.timm_features import TimmFeatures

__all__ = ["I3D", "FeatureNetwork", "Features", "InDomainFeatures", "RandomFeatures", "TimmFeatures"]
