"""The two-stage Kinetics-600 cascade without the matching discriminator (section 5.1, "No MD")."""

import attrs
from kinetics_2stage_window6 import experiment as base

discriminators = dict(base.graph["full"].discriminators)
del discriminators["matching"]

experiment = attrs.evolve(
    base.with_stage("full", discriminators=discriminators),
    name="kinetics_2stage_no_matching",
    training=attrs.evolve(base.training, iterations=100_000),
)
