"""Two-stage Kinetics-600 cascade, 32x32/25 to 128x128/50, windows of 6 frames to 12 (section 5.1)."""

from framework import Clip, Experiment, Stage, StageGraph, use

experiment = Experiment(
    name="kinetics_2stage",
    data=use("ClipStore", path="data/kinetics600.zarr", short="skip"),
    graph=StageGraph(
        clip=Clip(frames=50, height=128, width=128, stride=4),
        classes=600,
        stages=[
            Stage(
                "base",
                clip=Clip(frames=25, height=32, width=32, stride=8),
                generator=use("DVDGenerator", channels=128, multipliers=[8, 8, 4, 2]),
                discriminators={
                    "spatial": use("SpatialDiscriminator", channels=128, multipliers=[2, 4, 8, 16, 16]),
                    "temporal": use("TemporalDiscriminator", channels=128, multipliers=[2, 4, 8, 16, 16]),
                },
            ),
            Stage(
                "full",
                clip=Clip(frames=50, height=128, width=128, stride=4),
                source="base",
                view=use("NearestView", time=2, space=4),
                window=12,
                generator=use("UpsamplingGenerator", channels=128, multipliers=[8, 8, 4, 2, 1]),
                discriminators={
                    "spatial": use("SpatialDiscriminator", channels=96, multipliers=[1, 2, 4, 8, 16, 16]),
                    "temporal": use("TemporalDiscriminator", channels=96, multipliers=[1, 2, 4, 8, 16, 16]),
                    "matching": use("MatchingDiscriminator", channels=96, multipliers=[1, 2, 4, 8, 16, 16]),
                },
            ),
        ],
    ),
)
