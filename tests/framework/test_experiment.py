"""Experiments as data: through JSON and back, the same; variants by changing fields."""

import json
import runpy
from pathlib import Path

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_specs import small, upsampling_stage

from framework import Clip, Experiment, Stage, StageGraph, Training, dump, load, use
from framework.experiment import shaping
from registry import Component, InputError

BETA = st.floats(0, 1, exclude_max=True)

SPECS = sorted(
    path for path in (Path(__file__).parents[2] / "experiments").glob("*.py") if path.stem != "quickstart_classifier"
)

words = st.text(st.characters(codec="utf-8"), max_size=8)
counts = st.integers(1, 10**6)
rates = st.floats(1e-12, 1e3)
components = st.recursive(
    st.builds(Component, words, st.dictionaries(words, st.booleans() | st.integers() | rates | words, max_size=3)),
    lambda inner: st.builds(Component, words, st.dictionaries(words, inner | st.lists(inner, max_size=2), max_size=2)),
    max_leaves=3,
)
clips = st.builds(Clip, counts, counts, counts, counts, counts)
trainings = st.builds(
    Training,
    batch_size=counts,
    iterations=counts,
    generator_lr=rates,
    betas=st.tuples(BETA, BETA) | st.lists(BETA, min_size=2, max_size=2),
    workers=st.integers(0, 9),
)
stages = st.builds(
    Stage,
    words,
    clip=clips,
    generator=components,
    discriminators=st.dictionaries(words, components, max_size=2),
    source=st.none() | words,
    view=st.none() | components,
    window=st.none() | counts,
    loss=components,
    data_view=st.none() | components,
    joint=st.booleans(),
    training=st.dictionaries(words, st.integers() | st.lists(rates, max_size=2), max_size=2),
)
experiments = st.builds(
    Experiment,
    name=words,
    data=components,
    graph=st.builds(StageGraph, clip=clips, stages=st.lists(stages, max_size=3), classes=st.none() | counts),
    training=trainings,
    seed=st.integers(0),
    imports=st.lists(words, max_size=2),
)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(experiments)
def test_random_specs_round_trip(experiment):
    """Whatever an experiment holds, its JSON text gives it back."""
    assert load(dump(experiment)) == experiment


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_shipped_specs_round_trip(path, monkeypatch):
    """Every spec of the project comes back from its JSON; its name is the file's."""
    monkeypatch.syspath_prepend(path.parent)
    experiment = runpy.run_path(str(path))["experiment"]
    assert experiment.name == path.stem
    assert load(dump(experiment)) == experiment


def test_paths_and_lists_round_trip():
    """A spec in Python may hold paths and lists; its JSON equals it all the same."""
    experiment = small(data=use("ClipStore", path=Path("data") / "a.zarr"), imports=["mine"])
    experiment = attrs.evolve(experiment, training=Training(betas=[0.0, 0.5]))
    assert load(dump(experiment)) == experiment


def test_dump_is_readable_json():
    """The text is indented JSON that says its format and ends a line."""
    text = dump(small())
    data = json.loads(text)
    assert data.pop("format") == 1
    assert list(data) == ["name", "data", "graph", "training", "seed", "imports"]
    assert data["graph"]["stages"][1]["view"] == {"type": "NearestView", "options": {"time": 2, "space": 2}}
    assert text.endswith("}\n")
    assert text.count("\n") > 50


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "the spec is not JSON (Expecting property name"),
        ("[]", "the spec is not a JSON object"),
        ("{}", 'the spec is of another format; allowed: "format": 1'),
        ('{"format": 2}', 'the spec is of another format; allowed: "format": 1'),
        ('{"format": 1}', "name: is missing\ndata: is missing\ngraph: is missing"),
    ],
)
def test_what_is_no_spec(text, said):
    """Text that is no spec is refused with what is wrong with it."""
    with pytest.raises(InputError) as caught:
        load(text)
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (3.7, "seed: 3.7 is not allowed; allowed: int, at least 0"),
        (True, "seed: True is not allowed; allowed: int, at least 0"),
        ("5", "seed: '5' is not allowed; allowed: int, at least 0"),
    ],
)
def test_saved_specs_are_typed(value, said):
    """A field of a wrong type in a saved spec is refused, not converted."""
    data = json.loads(dump(small())) | {"seed": value}
    with pytest.raises(InputError) as caught:
        load(json.dumps(data))
    assert str(caught.value) == said


def test_stage_differs_in_its_training():
    """A stage's own training fields stand in for the experiment's; the others stay."""
    experiment = small(upsampling_stage(training={"iterations": 7, "betas": [0.1, 0.2]}))
    training = experiment.training_of(experiment.graph["full"])
    assert training == attrs.evolve(experiment.training, iterations=7, betas=(0.1, 0.2))


def test_with_stage():
    """A variant differs in the named stage's fields alone; the original stays as it was."""
    before = small()
    after = before.with_stage("full", window=2, joint=True)
    assert after.graph["full"] == attrs.evolve(before.graph["full"], window=2, joint=True)
    assert after.graph["base"] == before.graph["base"]
    assert attrs.evolve(after, graph=before.graph) == before
    assert before == small()
    with pytest.raises(InputError, match="did you mean 'full'"):
        before.with_stage("ful", window=2)
    with pytest.raises(TypeError, match="windw"):
        before.with_stage("full", windw=2)


def test_defaults_are_the_papers():
    """Batches of 512, 300k iterations, two D updates, learning rates 1e-4 and 5e-4, 200 passes for the statistics."""
    training = Training()
    assert (training.batch_size, training.iterations, training.discriminator_steps) == (512, 300_000, 2)
    assert (training.generator_lr, training.discriminator_lr, training.standing_passes) == (1e-4, 5e-4, 200)
    assert training.betas == (0.0, 0.999)


def test_a_spec_from_before_there_was_a_field():
    """What an earlier version saved without a field is the spec that has the field's default, and no other."""
    spec = json.loads(dump(small()))
    earlier = json.loads(dump(small()))
    del earlier["training"]["prefix"]
    assert shaping(earlier) == shaping(spec)
    other = json.loads(dump(small(training=attrs.evolve(small().training, prefix="iteration"))))
    assert shaping(earlier) != shaping(other)
