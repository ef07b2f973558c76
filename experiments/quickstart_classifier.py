"""A classifier of the demo's clips that trains on two CPU cores in under a minute: in-domain features for metrics."""

from framework import ClassifierExperiment, ClassifierTraining, Clip, use

experiment = ClassifierExperiment(
    name="quickstart_classifier",
    data=use("ClipStore", path="demo/clips.zarr"),
    clip=Clip(frames=16, height=32, width=32),
    network=use("VideoClassifier", channels=8, multipliers=[1, 2, 4, 8]),
    training=ClassifierTraining(
        batch_size=16,
        iterations=120,
        workers=0,
        log_every=20,
        evaluate_every=40,
        checkpoint_every=40,
    ),
)
