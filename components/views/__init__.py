"""Views ``x_l = f(x)``: what a stage is given of the video it has to generate (section 3.1)."""

from components.views.base import View
from components.views.compose import Compose
from components.views.picking import Picked, flatten, pick
from components.views.scaling import AntialiasedView, AreaView, NearestView
from components.views.window import WindowView

__all__ = ["AntialiasedView", "AreaView", "Compose", "NearestView", "Picked", "View", "WindowView", "flatten", "pick"]
