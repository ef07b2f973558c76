"""The kinds of component there are, a registry each. Components register themselves on import.

What a component of a kind is given by its builder (see :mod:`registry.options`):

* ``clip``: the :class:`components.Clip` of the stage's training window, or of what a classifier is trained on;
* ``view``: the view that leads from the stage's clip to its source's, None for the base stage;
* ``classes``: the number of classes, None when the cascade is unconditional;
* ``window``, ``time`` (metrics): frames in a training window, and how many of them one frame of x_l stands for.
"""

from __future__ import annotations

from registry.registry import Registry

GENERATORS = Registry("generator", gives=("clip", "view", "classes"))
DISCRIMINATORS = Registry("discriminator", gives=("clip", "view", "classes"))
VIEWS = Registry("view")
LOSSES = Registry("loss")
DATASETS = Registry("dataset")
FEATURES = Registry("feature network")
CLASSIFIERS = Registry("classifier", gives=("clip", "classes"))
METRICS = Registry("metric", gives=("classes", "window", "time"))

KINDS = {
    "generators": GENERATORS,
    "discriminators": DISCRIMINATORS,
    "views": VIEWS,
    "losses": LOSSES,
    "datasets": DATASETS,
    "features": FEATURES,
    "classifiers": CLASSIFIERS,
    "metrics": METRICS,
}
"""Every kind by the name its folder has."""
