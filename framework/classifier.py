"""A classifier of the user's own videos, as a spec declares it: plain data, like an experiment.

Its features are those of :class:`components.features.InDomainFeatures`.
"""

from __future__ import annotations

from typing import Annotated, Literal

import attrs

from components.clip import Clip
from registry import AtLeastZero, Component, NonNegative, Positive, PositiveFloat, Range, use
from registry.component import freeze

KIND: Literal["classifier"] = "classifier"
"""Says in a saved spec that it is one of a classifier."""


@attrs.frozen(kw_only=True)
class ClassifierTraining:
    """How a classifier is trained: AdamW, its learning rate falling to zero along half a cosine."""

    batch_size: Positive = 64
    """Clips in one update, over all GPUs."""
    iterations: Positive = 5000
    """Updates."""
    lr: PositiveFloat = 1e-3
    """The learning rate at the beginning."""
    weight_decay: AtLeastZero = 0.01
    held_out: Annotated[float, Range(0, 1, open_low=True, open_high=True)] = 0.2
    """The share of the clips that are never trained on, by which the network is judged. A hash of its name decides
    about a clip, so that it stays where it is when others come, and clips of one video stay together."""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """Of what autocast lets be computed in it; weights, statistics and losses are float32. float16 scales the loss."""
    deterministic: bool = False
    """Only deterministic kernels, so that runs on the same GPUs are equal bit for bit; slower. CPUs need it not."""
    workers: NonNegative = 2
    """Loader processes per GPU; 0 loads in the training process."""
    log_every: Positive = 50
    """Iterations between two lines of ``metrics.jsonl``."""
    evaluate_every: Positive = 500
    """Iterations between two looks at held-out clips, at most 512 of them; in the end it is all."""
    checkpoint_every: Positive = 1000
    """Iterations between two checkpoints."""
    keep_checkpoints: Positive = 2
    """How many of the latest checkpoints are kept."""


@attrs.frozen(kw_only=True)
class ClassifierExperiment:
    """A network that learns to tell the classes of a store; what a spec file exports as ``experiment``."""

    name: str
    """Names the default work directory, ``runs/<name>``."""
    data: Component
    """The dataset, ``use("ClipStore", path=...)``; its clips must have labels."""
    clip: Clip
    """What the network looks at: the size and stride of the data, and how many frames at a time, from anywhere."""
    network: Component = attrs.field(factory=lambda: use("VideoClassifier"))
    training: ClassifierTraining = ClassifierTraining()
    seed: NonNegative = 0
    """Everything random in a run follows from it."""
    imports: tuple[str, ...] = attrs.field(default=(), converter=freeze)
    """Modules that register components of the user's own: names importable from the working directory
    or from the folder of the spec."""
    kind: Literal["classifier"] = KIND
