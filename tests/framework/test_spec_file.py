"""From a SPEC on the command line to an experiment: files that are specs, files that are none, and what is said."""

import pytest

from framework import dump
from framework.spec_file import load_spec
from registry import InputError

SPEC = """
from framework import Clip, Experiment, Stage, StageGraph, use

clip = Clip(2, 4, 4)
stage = Stage(
    "base",
    clip=clip,
    generator=use("DVDGenerator", channels=1, multipliers=[1], noise_dim=2, embedding_dim=2),
    discriminators={"spatial": use("SpatialDiscriminator", channels=1, multipliers=[1])},
)
experiment = Experiment(name="tiny", data=use("SyntheticClips"), graph=StageGraph(clip=clip, stages=[stage]))
"""


@pytest.fixture(autouse=True)
def in_folder(tmp_path, monkeypatch):
    """The working directory is empty, and nothing that a test imports stays."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(path, *settings):
    """The lines of the error that loading the spec gives."""
    with pytest.raises(InputError) as caught:
        load_spec(path, settings)
    return [str(problem) for problem in caught.value.problems]


def test_python_and_saved_spec_are_the_same(tmp_path):
    """A Python spec and the JSON of its experiment load to equal experiments, by any spelling of the path."""
    (tmp_path / "tiny.py").write_text(SPEC)
    experiment, notes = load_spec("tiny.py")
    assert experiment.name == "tiny"
    assert notes == []
    (tmp_path / "spec.json").write_text(dump(experiment))
    assert load_spec(tmp_path / "spec.json") == (experiment, [])


def test_settings_are_applied(tmp_path):
    """Settings change what is loaded, and say what they dropped."""
    (tmp_path / "tiny.py").write_text(SPEC)
    experiment, notes = load_spec("tiny.py", ["seed=7", "data=ClipStore(path='x')"])
    assert experiment.seed == 7
    assert str(experiment.data) == "ClipStore(path='x')"
    _, notes = load_spec("tiny.py", ["stages.base.discriminators.spatial=TimmDiscriminator"])
    assert notes == [
        "graph.stages.base.discriminators.spatial: TimmDiscriminator has no option channels, multipliers; left out"
    ]


def test_derived_from_the_spec_beside_it(tmp_path):
    """A spec may import its neighbour by name, wherever the command runs."""
    folder = tmp_path / "specs"
    folder.mkdir()
    (folder / "tiny.py").write_text(SPEC)
    (folder / "variant.py").write_text(
        "import attrs\nfrom tiny import experiment as base\nexperiment = attrs.evolve(base, name='variant', seed=5)\n"
    )
    experiment, _ = load_spec("specs/variant.py")
    assert (experiment.name, experiment.seed) == ("variant", 5)


def test_neighbours_of_the_same_name(tmp_path):
    """Specs of different folders find each its own neighbour, one after the other in one process."""
    for number in (1, 2):
        folder = tmp_path / f"copy{number}"
        folder.mkdir()
        (folder / "tiny.py").write_text(SPEC.replace('name="tiny"', f'name="tiny", seed={number}'))
        (folder / "variant.py").write_text("from tiny import experiment\n")
    assert [load_spec(f"copy{number}/variant.py")[0].seed for number in (1, 2, 1)] == [1, 2, 1]


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("none.py", None, "none.py: there is no such spec; allowed: a Python spec (.py) or a saved spec.json"),
        (".", None, ".: there is no such spec; allowed: a Python spec (.py) or a saved spec.json"),
        ("a.txt", SPEC, "a.txt: is no spec; allowed: a Python spec (.py) or a saved spec.json"),
        ("a.py", "x = 1\n", "a.py: defines no experiment; allowed: experiment = Experiment(...)"),
        ("a.py", "experiment = 3\n", "a.py: defines no experiment; allowed: experiment = Experiment(...)"),
        ("a.py", "x = 1\ny = (\n", "a.py:2: SyntaxError: '(' was never closed"),
        ("a.py", "\n\nraise ValueError('no\\nluck')\n", "a.py:3: ValueError: no luck"),
        ("a.py", "def f():\n    assert 0\n\nf()\n", "a.py:2: AssertionError"),
        ("a.py", "import sys\nsys.exit(3)\n", "a.py:2: SystemExit: 3"),
        ("a.py", "\nimport nowhere_at_all\n", "a.py:2: ModuleNotFoundError: No module named 'nowhere_at_all'"),
        ("a.py", "x = 1\0", "a.py: "),
        (
            "a.py",
            SPEC + "experiment.with_stage('bsae', window=2)\n",
            "a.py:12: stage: no stage is called 'bsae'; allowed: base; did you mean 'base'?",
        ),
        (
            "a.py",
            SPEC + "Stage('x', clip=clip, generator=use('G'), windw=3)\n",
            "a.py:12: 'windw' is not a field of Stage; allowed: name, clip, generator, discriminators, source, view, "
            "window, loss, data_view, joint, training; did you mean 'window'?",
        ),
        ("a.json", "{", "a.json: the spec is not JSON (Expecting property name"),
        ("a.json", "[1]", "a.json: the spec is not a JSON object"),
        ("a.json", '{"format": 9}', 'a.json: the spec is of another format; allowed: "format": 1'),
        ("a.json", b"\xff\xfe\x00", "a.json: is not a text file"),
    ],
)  # fmt: skip
def test_what_is_no_spec(tmp_path, name, content, line):
    """One line says which file, which line of it where there is one, and what is wrong."""
    if content is not None:
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    [said] = refused(name)
    assert said.startswith(line)


def test_a_misspelt_spec(tmp_path):
    """The spec beside it is told whose name is nearest."""
    (tmp_path / "specs").mkdir()
    (tmp_path / "specs" / "tiny.py").touch()
    assert refused("specs/tyni.py")[0].endswith("; did you mean 'specs/tiny.py'?")


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("x = 1\n1 / 0\n", "a.py: {}/beside.py:2: ZeroDivisionError: division by zero"),
        ("x = 1\n\nx = )\n", "a.py: {}/beside.py:3: SyntaxError: unmatched ')'"),
    ],
)
def test_neighbour_that_fails(tmp_path, content, line):
    """An error inside the neighbour that a spec imports is reported at the neighbour's line."""
    (tmp_path / "beside.py").write_text(content)
    (tmp_path / "a.py").write_text("import beside\n")
    assert refused("a.py") == [line.format(tmp_path)]


def test_cause_is_kept(tmp_path):
    """What the spec raised is there for --debug."""
    (tmp_path / "a.py").write_text("1 / 0\n")
    with pytest.raises(InputError) as caught:
        load_spec("a.py")
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_spec_that_is_wrong_and_wrong_settings(tmp_path):
    """What is wrong inside a spec is reported with its path in the spec, settings first."""
    (tmp_path / "a.py").write_text(SPEC.replace('name="tiny"', "name=3, seed=True"))
    assert refused("a.py") == [
        "name: 3 is not allowed; allowed: text",
        "seed: True is not allowed; allowed: int, at least 0",
    ]
    assert refused("a.py", "sede=1")[0].startswith("sede: no field is called 'sede'")
    assert refused("a.py", "name=tiny") == ["seed: True is not allowed; allowed: int, at least 0"]
