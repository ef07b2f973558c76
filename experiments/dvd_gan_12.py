"""The baseline: DVD-GAN in a single stage at 128x128/12 on Kinetics-600 (section 5.1, table 1).

The paper gives no widths for it. These are the upsampling stage's discriminators and, for the generator,
BigGAN's progression of multipliers at 128x128 with the base stage's number of channels.
"""

from framework import Clip, Experiment, Stage, StageGraph, use

clip = Clip(frames=12, height=128, width=128, stride=4)

experiment = Experiment(
    name="dvd_gan_12",
    data=use("ClipStore", path="data/kinetics600.zarr", short="skip"),
    graph=StageGraph(
        clip=clip,
        classes=600,
        stages=[
            Stage(
                "full",
                clip=clip,
                generator=use("DVDGenerator", channels=128, multipliers=[8, 8, 8, 4, 2]),
                discriminators={
                    "spatial": use("SpatialDiscriminator", channels=96, multipliers=[1, 2, 4, 8, 16, 16]),
                    "temporal": use("TemporalDiscriminator", channels=96, multipliers=[1, 2, 4, 8, 16, 16]),
                },
            ),
        ],
    ),
)
