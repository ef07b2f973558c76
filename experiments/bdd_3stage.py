"""Three-stage BDD100K cascade, 32x32/25 to 64x64/50 to 128x128/100, windows of 6 frames to 12 (section 5.2)."""

from framework import Clip, Experiment, Stage, StageGraph, Training, use


def upsampling_stage(name: str, source: str, clip: Clip) -> Stage:
    """Twice the pixels a side and twice the frames of ``source`` (appendix B.2)."""
    discriminator = {"channels": 64, "multipliers": [1, 2, 4, 8, 8, 16]}
    return Stage(
        name,
        clip=clip,
        source=source,
        view=use("NearestView", time=2, space=2),
        window=12,
        generator=use("UpsamplingGenerator", channels=96, multipliers=[8, 4, 4, 2, 2]),
        discriminators={
            "spatial": use("SpatialDiscriminator", **discriminator),
            "temporal": use("TemporalDiscriminator", **discriminator),
            "matching": use("MatchingDiscriminator", **discriminator),
        },
    )


experiment = Experiment(
    name="bdd_3stage",
    data=use("ClipStore", path="data/bdd100k.zarr", short="skip"),
    graph=StageGraph(
        clip=Clip(frames=100, height=128, width=128, stride=2),
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
            upsampling_stage("mid", "base", Clip(frames=50, height=64, width=64, stride=4)),
            upsampling_stage("full", "mid", Clip(frames=100, height=128, width=128, stride=2)),
        ],
    ),
    training=Training(iterations=35_000),
)
