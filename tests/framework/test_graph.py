"""The cascade as data: order of training, chains of sources, ends, and the data's way to each stage."""

import itertools

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_specs import base_stage, upsampling_stage

from framework import Clip, Stage, StageGraph, use
from registry import InputError

CLIP = Clip(8, 8, 8)


def graph_of(sources: dict[str, str | None]) -> StageGraph:
    """Stages that differ in name and source alone, each with a view called after it."""
    stages = [
        Stage(name, clip=CLIP, generator=use("G"), source=source, view=use(f"View_{name}") if source else None)
        for name, source in sources.items()
    ]
    return StageGraph(clip=CLIP, stages=stages)


@st.composite
def trees(draw):
    """Names with their sources, one base, declared in any order."""
    count = draw(st.integers(1, 8))
    parents = [None] + [draw(st.integers(0, number - 1)) for number in range(1, count)]
    sources = {f"s{n}": None if parent is None else f"s{parent}" for n, parent in enumerate(parents)}
    return {name: sources[name] for name in draw(st.permutations(list(sources)))}


@settings(deadline=None)
@given(trees())
def test_order_and_chains(sources):
    """Every stage once and after its source; a chain leads from the base to its stage by sources."""
    graph = graph_of(sources)
    order = [stage.name for stage in graph.order()]
    assert sorted(order) == sorted(sources)
    for name, source in sources.items():
        chain = [stage.name for stage in graph.chain(name)]
        assert chain[-1] == name
        assert sources[chain[0]] is None
        assert all(sources[after] == before for before, after in itertools.pairwise(chain))
        if source:
            assert order.index(source) < order.index(name)
    assert {stage.name for stage in graph.leaves()} == set(sources) - set(sources.values())


@settings(deadline=None)
@given(trees())
def test_the_datas_way(sources):
    """The data goes down from the first declared end above a stage, through the view of every stage it passes."""
    graph = graph_of(sources)
    for name in sources:
        above = []
        at = name
        while consumers := [other for other, source in sources.items() if source == at]:
            at = consumers[0]
            above.append(at)
        assert graph.data_route(name) == [use(f"View_{other}") for other in reversed(above)]


def test_data_view_shortens_the_way():
    """A stage with a view of its own on the data needs no stage above it."""
    own = use("Own")
    graph = graph_of({"a": None, "b": "a", "c": "b"})
    stages = [attrs.evolve(stage, data_view=own if stage.name in "bc" else None) for stage in graph.stages]
    graph = attrs.evolve(graph, stages=stages)
    assert graph.data_route("a") == [own, use("View_b")]
    assert graph.data_route("b") == graph.data_route("c") == [own]


def test_names():
    """Stages are found by name and known in their order; an unknown name is an error with the nearest."""
    graph = graph_of({"full": "base", "base": None})
    assert graph.names() == ["full", "base"]
    assert graph["base"].source is None
    assert graph.consumers("base") == [graph["full"]]
    for ask in (graph.__getitem__, graph.chain, graph.data_route):
        with pytest.raises(InputError) as caught:
            ask("bsae")
        assert str(caught.value) == "stage: no stage is called 'bsae'; allowed: base, full; did you mean 'base'?"


def test_training_clip():
    """In training a stage makes its window; without one, its whole clip."""
    assert upsampling_stage(window=6).training_clip == Clip(6, 8, 8)
    assert base_stage().training_clip == base_stage().clip == Clip(4, 4, 4, stride=2)


def test_graphs_are_values():
    """Lists, tuples and tables that say the same are the same graph."""
    one = StageGraph(clip=CLIP, stages=[base_stage(discriminators={"a": use("A", x=[1])}, training={"betas": [0, 1]})])
    two = StageGraph(
        clip=CLIP, stages=(base_stage(discriminators={"a": use("A", x=(1,))}, training={"betas": (0, 1)}),)
    )
    assert one == two
    assert one != attrs.evolve(two, classes=3)
