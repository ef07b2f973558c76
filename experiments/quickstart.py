"""A cascade that trains on two CPU cores in minutes: 16x16/8 @2 to 32x32/16 @1, on clips of bouncing shapes."""

from framework import Clip, Experiment, Stage, StageGraph, Training, use

experiment = Experiment(
    name="quickstart",
    data=use("ClipStore", path="demo/clips.zarr"),
    graph=StageGraph(
        clip=Clip(frames=16, height=32, width=32),
        classes=4,
        stages=[
            Stage(
                "base",
                clip=Clip(frames=8, height=16, width=16, stride=2),
                generator=use("DVDGenerator", channels=8, multipliers=[4, 2], noise_dim=32, embedding_dim=32),
                discriminators={
                    "spatial": use("SpatialDiscriminator", channels=16, multipliers=[1, 2, 4], frames=4),
                    "temporal": use("TemporalDiscriminator", channels=16, multipliers=[1, 2, 4], pool=1),
                },
            ),
            Stage(
                "full",
                clip=Clip(frames=16, height=32, width=32),
                source="base",
                view=use("NearestView", time=2, space=2),
                window=8,
                generator=use("UpsamplingGenerator", channels=8, multipliers=[4, 2, 1], noise_dim=32, embedding_dim=32),
                discriminators={
                    "spatial": use("SpatialDiscriminator", channels=12, multipliers=[1, 2, 4], frames=4),
                    "temporal": use("TemporalDiscriminator", channels=12, multipliers=[1, 2, 4]),
                    "matching": use("MatchingDiscriminator", channels=12, multipliers=[1, 2, 4]),
                },
                training={"iterations": 220},
            ),
        ],
    ),
    training=Training(
        batch_size=16,
        iterations=350,
        generator_lr=1e-3,
        discriminator_lr=2e-3,
        standing_passes=50,
        workers=0,
        log_every=20,
        checkpoint_every=50,
        sample_every=100,
    ),
)
