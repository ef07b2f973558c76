"""A classifier's spec: data like a cascade's, checked whole, and never taken for one."""

import json

import attrs
import pytest

from framework import ClassifierExperiment, ClassifierTraining, Clip, dump, load, use
from framework.check.classifier import check_classifier
from framework.experiment import shaping
from framework.spec_file import load_any_spec, load_spec
from registry import InputError
from registry.convert import unstructure

SPEC = """
from framework import ClassifierExperiment, Clip, use

experiment = ClassifierExperiment(
    name="shapes", data=use("SyntheticClips", size=8), clip=Clip(4, 8, 8), network=use("VideoClassifier", channels=2)
)
"""


def small(**changes):
    fields = {
        "name": "shapes",
        "data": use("SyntheticClips", size=8),
        "clip": Clip(4, 8, 8),
        "network": use("VideoClassifier", channels=2),
        "training": ClassifierTraining(batch_size=2, iterations=3),
    }
    return ClassifierExperiment(**{**fields, **changes})


def problems_of(data):
    with pytest.raises(InputError) as error:
        check_classifier(data)
    return [str(problem) for problem in error.value.problems]


def test_through_json_and_back(tmp_path):
    """A saved spec is the same experiment, with or without settings."""
    (tmp_path / "spec.json").write_text(dump(small()))
    assert load_any_spec(tmp_path / "spec.json") == (small(), [])
    settings = ["training.iterations=9", "network.channels=3", "data=SyntheticClips(clips=3)", "clip.frames=5"]
    changed, notes = load_any_spec(tmp_path / "spec.json", settings)
    training = attrs.evolve(small().training, iterations=9)
    network, data = use("VideoClassifier", channels=3), use("SyntheticClips", clips=3)
    assert changed == small(training=training, network=network, data=data, clip=Clip(5, 8, 8))
    assert notes == []


def test_from_python(tmp_path):
    """A spec file exports it as `experiment`; a misspelt field is named with its neighbours."""
    path = tmp_path / "shapes.py"
    path.write_text(SPEC)
    assert load_any_spec(path)[0] == small(training=ClassifierTraining())
    path.write_text(SPEC.replace("network=", "netwrok="))
    with pytest.raises(InputError, match=r"shapes.py:4: 'netwrok' is not a field of ClassifierExperiment.*'network'"):
        load_any_spec(path)


def test_it_is_no_cascade(tmp_path):
    """Whoever wants stages says so in one line."""
    path = tmp_path / "shapes.py"
    path.write_text(SPEC)
    said = "is the spec of a classifier, not of a cascade; allowed: one with a graph of stages$"
    with pytest.raises(InputError, match=said):
        load_spec(path)
    with pytest.raises(InputError, match=said):
        load(dump(small()))


def test_every_mistake_at_once():
    """Types, names, options, and each with its place and the nearest match."""
    data = unstructure(small())
    data["name"] = "a/b"
    data["seed"] = -1
    data["training"] |= {"held_out": 1.0, "iteratons": 5}
    data["network"]["options"]["chanels"] = 2
    data["data"]["type"] = "SyntheticClip"
    lines = problems_of(data)
    assert len(lines) == 6
    for place, said in [
        ("name", "'a/b' cannot name a folder"),
        ("seed", "-1 is not allowed"),
        ("training.held_out", "1.0 is not allowed; allowed: number, more than 0 and less than 1"),
        ("training.iteratons", "did you mean 'iterations'?"),
        ("network.chanels", "did you mean 'channels'?"),
        ("data", "did you mean 'SyntheticClips'?"),
    ]:
        assert any(line.startswith(f"{place}: ") and said in line for line in lines), (place, lines)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"clip": Clip(2, 8, 8)}, "clip: looks at 2 frames, but VideoClassifier needs 3; allowed: at least 3 frames"),
        ({"network": use("VideoClassifier", multipliers=[1] * 9)}, "network.multipliers: 9 blocks do not fit"),
        ({"network": use("VideoClasifier")}, "network: no classifier is called 'VideoClasifier'"),
        ({"network": use("VideoClassifier", channels="x")}, "network.channels: 'x' is not allowed"),
    ],
)
def test_the_network_is_run(changes, said):
    """On the meta device, at the size of the clip."""
    [line] = problems_of(unstructure(small(**changes)))
    assert line.startswith(said)


def test_fields_of_a_wrong_type_hide_no_others():
    """A clip that is none and a network that is none are an error each."""
    data = unstructure(small())
    data["clip"], data["network"] = {"frames": 4}, 3
    lines = problems_of(data)
    assert [line.partition(":")[0] for line in lines] == ["clip.height", "clip.width", "network"]


def test_what_shapes_the_result():
    """How the work is done is no part of it, nor where the data lies; all else is."""
    data = json.loads(dump(small()))
    beside = json.loads(dump(small(training=attrs.evolve(small().training, workers=0, log_every=7, evaluate_every=1))))
    assert shaping(data) == shaping(beside)
    for changes in ({"seed": 1}, {"clip": Clip(3, 8, 8)}, {"training": attrs.evolve(small().training, lr=0.5)}):
        assert shaping(data) != shaping(json.loads(dump(small(**changes))))
