"""Three small stages for a folder of videos of your own, 16x16/8 to 32x32/16 to 64x64/32, without classes.

Ingest first: ``python tools/ingest.py VIDEOS data/folder_64.zarr --size 64``. For videos in class folders set
``graph.classes`` to their number. Widths are small enough for one GPU; ``--set`` makes them smaller or larger.
"""

from framework import Clip, Experiment, Stage, StageGraph, Training, use


def upsampling_stage(name: str, source: str, clip: Clip, multipliers: list[int]) -> Stage:
    """Twice the pixels a side and twice the frames of ``source``, trained on windows of 4 frames to 8."""
    discriminator = {"channels": 32, "multipliers": [1, 2, 4, 4]}
    return Stage(
        name,
        clip=clip,
        source=source,
        view=use("NearestView", time=2, space=2),
        window=8,
        generator=use("UpsamplingGenerator", channels=32, multipliers=multipliers),
        discriminators={
            "spatial": use("SpatialDiscriminator", **discriminator),
            "temporal": use("TemporalDiscriminator", **discriminator),
            "matching": use("MatchingDiscriminator", **discriminator),
        },
    )


experiment = Experiment(
    name="folder_64",
    data=use("ClipStore", path="data/folder_64.zarr", short="skip"),
    graph=StageGraph(
        clip=Clip(frames=32, height=64, width=64),
        stages=[
            Stage(
                "base",
                clip=Clip(frames=8, height=16, width=16, stride=4),
                generator=use("DVDGenerator", channels=32, multipliers=[8, 4]),
                discriminators={
                    "spatial": use("SpatialDiscriminator", channels=32, multipliers=[2, 4, 8]),
                    "temporal": use("TemporalDiscriminator", channels=32, multipliers=[2, 4, 8], pool=1),
                },
            ),
            upsampling_stage("mid", "base", Clip(frames=16, height=32, width=32, stride=2), [8, 4, 2]),
            upsampling_stage("full", "mid", Clip(frames=32, height=64, width=64), [8, 4, 2, 1]),
        ],
    ),
    training=Training(batch_size=32, iterations=20_000),
)
