"""An experiment: what ``tools/train.py`` runs. Plain data; prints, compares, and round-trips through JSON."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from typing import Any

import attrs

from framework.graph import Stage, StageGraph
from registry import Component, InputError, NonNegative, Positive, PositiveFloat, ProperFraction
from registry.component import freeze
from registry.convert import structure, unstructure

FORMAT = 1
"""Of a saved spec. A spec of another format is refused."""
BESIDE_THE_RESULT = ("workers", "log_every", "checkpoint_every", "sample_every", "samples")
"""Fields of :class:`Training` that change nothing of what is trained."""


@attrs.frozen(kw_only=True)
class Training:
    """How a stage is trained. Defaults are the paper's (section 5, appendix A)."""

    batch_size: Positive = 512
    """Clips in one discriminator update, over all GPUs."""
    iterations: Positive = 300_000
    """Updates of the generator; each goes with ``discriminator_steps`` updates of the discriminators."""
    discriminator_steps: Positive = 2
    generator_lr: PositiveFloat = 1e-4
    """Adam's learning rate for the generator."""
    discriminator_lr: PositiveFloat = 5e-4
    """Adam's learning rate for the discriminators."""
    betas: tuple[ProperFraction, ProperFraction] = attrs.field(default=(0.0, 0.999), converter=freeze)
    """Adam's betas; the paper does not say, these are its line of work's (BigGAN, DVD-GAN)."""
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
    sample_every: Positive = 1000
    """Iterations between two sample pictures."""
    samples: Positive = 8
    """Videos in a sample picture."""


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


def dump(experiment: Experiment) -> str:
    """The experiment as JSON text; ``load(dump(x)) == x``."""
    return json.dumps({"format": FORMAT, **unstructure(experiment)}, indent=2) + "\n"


def shaping(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a spec's plain data that shapes the result: a run may carry on though the rest has changed.

    Where the data lies is no part of it either; that it is the same data, its fingerprint says.
    """
    kept = copy.deepcopy(dict(spec))
    for training in (kept["training"], *(stage["training"] for stage in kept["graph"]["stages"])):
        for field in BESIDE_THE_RESULT:
            training.pop(field, None)
    kept["data"]["options"].pop("path", None)
    return kept


def load(text: str) -> Experiment:
    """The experiment that :func:`dump` wrote.

    Raises:
        InputError: it is no JSON, of another format, or a field is unknown, missing or of a wrong type.
    """
    return structure(plain(text), Experiment)


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
