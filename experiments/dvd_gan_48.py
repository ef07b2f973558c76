"""The baseline: DVD-GAN in a single stage at 128x128/48 on Kinetics-600 (section 5.1, table 1)."""

import attrs
from dvd_gan_12 import experiment as base

clip = attrs.evolve(base.graph.clip, frames=48)

experiment = attrs.evolve(
    base,
    name="dvd_gan_48",
    graph=attrs.evolve(base.graph, clip=clip, stages=[attrs.evolve(base.graph["full"], clip=clip)]),
)
