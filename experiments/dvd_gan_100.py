"""The baseline for BDD100K: DVD-GAN in a single stage at 128x128/100, unconditional (not in the paper)."""

import attrs
from dvd_gan_12 import experiment as base

from framework import use

clip = attrs.evolve(base.graph.clip, frames=100, stride=2)

experiment = attrs.evolve(
    base,
    name="dvd_gan_100",
    data=use("ClipStore", path="data/bdd100k.zarr", short="skip"),
    graph=attrs.evolve(base.graph, clip=clip, classes=None, stages=[attrs.evolve(base.graph["full"], clip=clip)]),
)
