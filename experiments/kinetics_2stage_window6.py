"""The two-stage Kinetics-600 cascade with windows of 3 frames to 6 (section 5.1, "temporal window size")."""

import attrs
from kinetics_2stage import experiment as base

experiment = attrs.evolve(base.with_stage("full", window=6), name="kinetics_2stage_window6")
