"""From the components a stage names to modules, on whatever device is the default where it is called."""

from __future__ import annotations

from components.discriminators import Discriminator
from components.generators import Generator
from components.losses import AdversarialLoss
from components.views import View
from framework.graph import Stage, StageGraph
from registry import DISCRIMINATORS, GENERATORS, LOSSES, VIEWS, Component
from registry.errors import join


def stage_path(stage: Stage) -> str:
    """Where the stage stands in a spec, as error messages print it."""
    return join("graph.stages", stage.name)


def build_view(component: Component, where: str = "") -> View:
    """The view that ``component`` names."""
    view: View = VIEWS.build(component, where)
    return view


def build_stage_view(stage: Stage) -> View | None:
    """The edge from the stage to its source; None for the base stage."""
    return build_view(stage.view, f"{stage_path(stage)}.view") if stage.view else None


def build_generator(graph: StageGraph, stage: Stage) -> Generator:
    """The stage's generator for its training window."""
    generator: Generator = GENERATORS.build(
        stage.generator,
        f"{stage_path(stage)}.generator",
        clip=stage.training_clip,
        view=build_stage_view(stage),
        classes=graph.classes,
    )
    return generator


def build_discriminators(graph: StageGraph, stage: Stage) -> dict[str, Discriminator]:
    """The stage's discriminators for its training window, by name."""
    view = build_stage_view(stage)
    return {
        name: DISCRIMINATORS.build(
            component,
            f"{stage_path(stage)}.discriminators.{name}",
            clip=stage.training_clip,
            view=view,
            classes=graph.classes,
        )
        for name, component in stage.discriminators.items()
    }


def build_loss(stage: Stage) -> AdversarialLoss:
    """The stage's adversarial loss."""
    loss: AdversarialLoss = LOSSES.build(stage.loss, f"{stage_path(stage)}.loss")
    return loss


def build_data_route(graph: StageGraph, stage: Stage) -> list[View]:
    """The views that lead from the graph's clip to the stage's, in order of application."""
    return [build_view(component, stage_path(stage)) for component in graph.data_route(stage.name)]
