"""The cascade as data: stages, the typed edges between them, and their order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from components.clip import Clip
from registry import Component, InputError, Positive, use
from registry.component import freeze

OWN_FOLDERS = ("tensorboard", "mmengine", "generated")
"""What a run folder holds beside its stages' folders; no stage can have these names."""


@attrs.frozen(kw_only=True)
class Stage:
    """One generative adversarial problem of the cascade (section 3).

    A stage without a source is the base: it models ``p(x_l)``. Every other stage models
    ``p(x | x_l)``, where ``x_l = view(x)`` is a clip of its source.
    """

    name: str = attrs.field(kw_only=False)
    """Unique in the graph; names the stage's folder in a run."""
    clip: Clip
    """The video that the stage generates when unrolled whole."""
    generator: Component
    discriminators: Mapping[str, Component] = attrs.field(factory=dict, converter=freeze)
    """By a name of the user's choosing; all their scores enter one loss."""
    source: str | None = None
    """Name of the stage whose videos this one upsamples; None in the base stage."""
    view: Component | None = None
    """The edge: applied to this stage's clip it gives the source's clip."""
    window: Positive | None = None
    """Frames of this stage's clip in a training window; None is the whole clip."""
    loss: Component = attrs.field(factory=lambda: use("GeometricHinge"))
    data_view: Component | None = None
    """Leads from the graph's clip to this stage's clip. Needed by a last stage whose clip is another
    than the graph's; any other stage's clip follows from the views of the stages after it."""
    joint: bool = False
    """Whether the stage trains end to end with its source (appendix H). Can be declared and checked;
    training it is refused until it is built."""
    training: Mapping[str, Any] = attrs.field(factory=dict, converter=freeze)
    """Fields of :class:`framework.Training` in which this stage differs from the experiment's."""

    @property
    def training_clip(self) -> Clip:
        """What the stage's generator makes in training: the window."""
        return attrs.evolve(self.clip, frames=self.window or self.clip.frames)


@attrs.frozen(kw_only=True)
class StageGraph:
    """Stages and the clip of the data they are all views of. A chain, or one base with branches."""

    clip: Clip
    """The videos x that the data gives."""
    stages: tuple[Stage, ...] = attrs.field(converter=freeze)
    classes: Positive | None = None
    """Number of classes that generators and discriminators are conditioned on; None is unconditional."""

    def __getitem__(self, name: str) -> Stage:
        """The stage called ``name``.

        Raises:
            InputError: there is none.
        """
        for stage in self.stages:
            if stage.name == name:
                return stage
        raise InputError.unknown("stage", "stage", name, self.names())

    def names(self) -> list[str]:
        """The stages' names as declared."""
        return [stage.name for stage in self.stages]

    def consumers(self, name: str) -> list[Stage]:
        """The stages whose source is ``name``, as declared."""
        return [stage for stage in self.stages if stage.source == name]

    def chain(self, name: str) -> list[Stage]:
        """The stages from the base to ``name``, both included."""
        stage = self[name]
        return [*(self.chain(stage.source) if stage.source else []), stage]

    def order(self) -> list[Stage]:
        """Every stage after its source: the order in which they train."""
        return sorted(self.stages, key=lambda stage: len(self.chain(stage.name)))

    def leaves(self) -> list[Stage]:
        """The stages that nothing upsamples: each one's video is an outcome of the cascade."""
        return [stage for stage in self.stages if not self.consumers(stage.name)]

    def data_route(self, name: str) -> list[Component]:
        """The views that lead, one after the other, from the graph's clip to the clip of ``name``.

        Where several stages share a source, its data comes through the first of them as declared; the
        check of the graph makes sure that the others would give the same.
        """
        stage, consumers = self[name], self.consumers(name)
        if stage.data_view is not None:
            return [stage.data_view]
        if not consumers:
            return []
        first = consumers[0]
        return [*self.data_route(first.name), *([first.view] if first.view else [])]
