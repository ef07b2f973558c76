"""An experiment: what ``tools/train.py`` runs. Plain data; prints, compares, and round-trips through JSON."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from typing import Any, Literal

import attrs

from framework.classifier import KIND, ClassifierExperiment
from framework.graph import Stage, StageGraph
from registry import AtLeastZero, Component, InputError, NonNegative, Positive, PositiveFloat, ProperFraction
from registry.component import freeze
from registry.convert import structure, unstructure

FORMAT = 1
"""Of a saved spec. A spec of another format is refused."""
BESIDE_THE_RESULT = (
    "clips_per_gpu",
    "activation_checkpointing",
    "compile",
    "one_pass",
    "channels_last",
    "power_iterations",
    "fused_adam",
    "deterministic",
    "on_divergence",
    "workers",
    "evaluate",
    "evaluate_features",
    "evaluate_videos",
    "evaluate_every",
    "log_every",
    "checkpoint_every",
    "keep_checkpoints",
    "keep_best",
    "sample_every",
    "samples",
)
"""Fields of :class:`Training` that say how and where the work is done, not what is trained: a run may carry on with
others. ``clips_per_gpu``, ``compile``, ``one_pass``, ``channels_last``, ``power_iterations``, ``fused_adam`` and
``deterministic`` leave the result the same but for rounding, and but for what :attr:`Training.clips_per_gpu` says of
parts."""


@attrs.frozen(kw_only=True)
class Training:
    """How a stage is trained. Defaults are the paper's (section 5, appendix A)."""

    batch_size: Positive = 512
    """Clips in one update, over all GPUs."""
    clips_per_gpu: Positive | None = None
    """The most clips that a GPU takes at once. Where its share of the batch is larger, it is cut into equal parts whose
    gradients add up; a batch norm's statistics are then those of a part, and frames are sampled for each part. None is
    the whole share."""
    iterations: Positive = 300_000
    """Updates of the generator; each goes with ``discriminator_steps`` updates of the discriminators."""
    discriminator_steps: Positive = 2
    generator_lr: PositiveFloat = 1e-4
    """Adam's learning rate for the generator."""
    discriminator_lr: PositiveFloat = 5e-4
    """Adam's learning rate for the discriminators."""
    betas: tuple[ProperFraction, ProperFraction] = attrs.field(default=(0.0, 0.999), converter=freeze)
    """Adam's betas; the paper does not say, these are its line of work's (BigGAN, DVD-GAN)."""
    max_grad_norm: PositiveFloat | None = None
    """Gradients of the generator, and of all discriminators, are scaled down to this norm; None is as they are."""
    r1: AtLeastZero = 0.0
    """Weight of the R1 penalty ``E|∇D(x)|² / 2`` on real videos (Mescheder et al., 2018); the paper has none."""
    average: ProperFraction | None = None
    """Decay of a moving average of the generator's weights, kept beside them in the artifact and used in place of them
    by later stages and for generating; None has none, as in the paper."""
    prefix: Literal["update", "iteration"] = "update"
    """How often x̂_l is drawn from the earlier stages: for each update, as in the paper, or once for all updates of an
    iteration, which saves the generating. Each update's own x̂_l then still has the same distribution, and z is drawn
    for each; the updates of an iteration are not independent of each other any more."""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """Of what autocast lets be computed in it; weights, statistics and losses are float32. float16 scales the loss."""
    activation_checkpointing: bool = False
    """Compute activations again in the backward pass: less memory, about a third more work, the same result."""
    compile: tuple[Literal["generator", "discriminators"], ...] = attrs.field(default=(), converter=freeze)
    """Networks that go through ``torch.compile``."""
    one_pass: bool = True
    """Discriminators see real and generated videos in one pass; else in two, with the same weights and frames, where
    networks in which clips see one another (a batch norm in a timm backbone) see other clips."""
    channels_last: bool = True
    """Videos lie in memory with channels last, which convolutions are faster with; else as their shape says."""
    power_iterations: Literal["together", "by layer"] = "together"
    """Spectral normalisation's power iterations of all of a network's layers in one pass before its forward, or each
    in its layer."""
    fused_adam: bool = True
    """Adam in one kernel; else in several."""
    deterministic: bool = False
    """Only deterministic kernels, so that runs on the same GPUs are equal bit for bit; slower. CPUs need it not."""
    on_divergence: Literal["stop", "skip"] = "stop"
    """At a loss or gradient that is not finite: stop, or undo the update and go on with the next."""
    prefix_bank: Positive | None = None
    """Videos of the source that are made once and kept in a clip store, from whose windows a stage with a source then
    trains; the videos of a source are met again, in other windows, and rounded to 256 values as real ones are. None
    makes new ones for every update, as in the paper."""
    standing_passes: Positive = 200
    """Forward passes that estimate the per-timestep batch-norm statistics when a stage is done."""
    standing_batch: Positive = 16
    """Clips in each of these passes."""
    workers: NonNegative = 2
    """Loader processes per GPU; 0 loads in the training process."""
    log_every: Positive = 50
    """Iterations between two lines of ``metrics.jsonl``."""
    checkpoint_every: Positive = 1000
    """Iterations between two checkpoints."""
    keep_checkpoints: Positive = 2
    """How many of the latest checkpoints are kept."""
    keep_best: str | None = None
    """Keep one checkpoint more, that of the best line of ``metrics.jsonl``: ``"min:NAME"`` or ``"max:NAME"``."""
    evaluate: tuple[Component, ...] = attrs.field(default=(), converter=freeze)
    """Metrics that are measured while the stage trains, on whole videos, into ``metrics.jsonl``; none by default. The
    generator normalises with the statistics of the videos at hand, since those of a length are estimated at the end."""
    evaluate_features: Component | None = None
    """The feature network of metrics that need one."""
    evaluate_videos: Positive = 512
    """Real and generated videos, each, that they are measured on."""
    evaluate_every: Positive = 5000
    """Iterations between two measurements."""
    sample_every: Positive = 1000
    """Iterations between two sets of samples, a picture and a film."""
    samples: Positive = 8
    """Videos in a set of samples."""


@attrs.frozen(kw_only=True)
class Experiment:
    """A cascade, the data it learns and how; what a spec file exports as ``experiment``."""

    name: str
    """Names the default work directory, ``runs/<name>``."""
    data: Component
    """The dataset, ``use("ClipStore", path=...)``."""
    graph: StageGraph
    training: Training = Training()
    seed: NonNegative = 0
    """Everything random in a run follows from it."""
    imports: tuple[str, ...] = attrs.field(default=(), converter=freeze)
    """Modules that register components of the user's own: names importable from the working directory
    or from the folder of the spec."""

    def training_of(self, stage: Stage) -> Training:
        """The experiment's training with the fields in which ``stage`` differs."""
        return structure({**unstructure(self.training), **stage.training}, Training)

    def with_stage(self, name: str, **changes: Any) -> Experiment:
        """The experiment with some fields of the stage ``name`` changed, for specs that derive from others.

        Raises:
            InputError: there is no such stage.
            TypeError: there is no such field.
        """
        changed = attrs.evolve(self.graph[name], **changes)
        stages = tuple(changed if stage.name == name else stage for stage in self.graph.stages)
        return attrs.evolve(self, graph=attrs.evolve(self.graph, stages=stages))


def dump(experiment: Experiment | ClassifierExperiment) -> str:
    """The experiment as JSON text; ``load(dump(x)) == x``."""
    return json.dumps({"format": FORMAT, **unstructure(experiment)}, indent=2) + "\n"


def shaping(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a spec's plain data that shapes the result: a run may carry on though the rest has changed.

    Where the data lies is no part of it either; that it is the same data, its fingerprint says.
    """
    kept = copy.deepcopy(dict(spec))
    if spec.get("kind") != KIND:  # one from before there was a field has what the field does by default
        kept["training"] = unstructure(Training()) | kept["training"]
    stages = kept.get("graph", {"stages": []})["stages"]  # a classifier has none
    for training in (kept["training"], *(stage["training"] for stage in stages)):
        for field in BESIDE_THE_RESULT:
            training.pop(field, None)
    kept["data"]["options"].pop("path", None)
    return kept


def load(text: str) -> Experiment:
    """The experiment that :func:`dump` wrote.

    Raises:
        InputError: it is no JSON, of another format, or a field is unknown, missing or of a wrong type.
    """
    data = plain(text)
    if data.get("kind") == KIND:
        raise InputError.of("", "is the spec of a classifier, not of a cascade", "one with a graph of stages")
    return structure(data, Experiment)


def plain(text: str) -> dict[str, Any]:
    """The JSON data of a saved spec, its format checked, its fields not yet.

    Raises:
        InputError: it is no JSON object or of another format.
    """
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError.of("", f"the spec is not JSON ({error})") from None
    if not isinstance(data, dict):
        raise InputError.of("", "the spec is not a JSON object")
    if data.pop("format", None) != FORMAT:
        raise InputError.of("", "the spec is of another format", allowed=f'"format": {FORMAT}')
    return data
