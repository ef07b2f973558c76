"""The two-stage Kinetics-600 cascade with ConvGRUs in the upsampling stage (appendix C)."""

import attrs
from kinetics_2stage import experiment as base

from framework import use

experiment = attrs.evolve(
    base.with_stage(
        "full",
        generator=use("UpsamplingGenerator", channels=128, multipliers=[8, 8, 4, 2, 1], temporal_layer="convgru"),
    ),
    name="kinetics_2stage_convgru",
    training=attrs.evolve(base.training, iterations=100_000),
)
