"""tools/components.py as a command: everything that a spec can name."""

import inspect
import json
import subprocess
import sys
from pathlib import Path

import in_process
import pytest

from registry import KINDS, VIEWS
from registry.options import given_to

ROOT = Path(__file__).parents[2]
TOOL = ROOT / "tools" / "components.py"


@pytest.fixture
def components(monkeypatch, capsys):
    """The command, called in this process: exit code, stdout and stderr."""

    def call(*arguments):
        return in_process.call(TOOL, arguments, monkeypatch, capsys)

    return call


def test_everything(components):
    """Every kind, every component under its kind, with the first line of its documentation."""
    code, out, err = components()
    assert (code, err) == (0, "")
    kinds = dict(paragraph.split(":\n", 1) for paragraph in out.strip().split("\n\n"))
    assert list(kinds) == list(KINDS)
    for label, kind in KINDS.items():
        named = [line.strip() for line in kinds[label].splitlines() if line.startswith("  ") and line[2] != " "]
        assert named == kind.names()
        for name in named:
            assert inspect.getdoc(kind.find(name)).splitlines()[0] in kinds[label]


def test_options(components):
    """Types in words, and defaults as a spec would have them."""
    code, out, _ = components("generators")
    assert code == 0
    assert out.startswith("generators:\n  DVDGenerator\n")
    rows = {tuple(line.split(maxsplit=1)) for line in out.splitlines()}
    assert ("channels", "int, at least 1; default 128") in rows
    assert ("multipliers", "list of int, each at least 1; default [8, 8, 4, 2, 1]") in rows
    assert ("temporal_layer", "'separable' | 'convgru' | 'resnet3d'; default 'separable'") in rows
    assert ("frames", "int, at least 1; required") in {
        tuple(line.split(maxsplit=1)) for line in components("views")[1].splitlines()
    }


def test_one_component(components):
    """With a name: its whole documentation, where it is defined, and its options."""
    code, out, _ = components("views", "NearestView")
    assert code == 0
    for line in inspect.getdoc(VIEWS.find("NearestView")).splitlines():
        assert line in out
    assert "defined in components.views.scaling.NearestView" in out
    assert "AreaView" not in out


def test_json_agrees_with_the_signatures(components):
    """For a program: the options of each constructor by name, with default and whether they must be set."""
    code, out, _ = components("--json")
    assert code == 0
    listing = json.loads(out)
    assert list(listing) == list(KINDS)
    for label, kind in KINDS.items():
        assert [facts["name"] for facts in listing[label]] == kind.names()
        for facts in listing[label]:
            cls = kind.find(facts["name"])
            signature = dict(inspect.signature(cls).parameters)
            for given in given_to(cls) if kind.gives else ():  # a kind that is given nothing has options alone
                del signature[given]
            assert [option["name"] for option in facts["options"]] == list(signature)
            for option in facts["options"]:
                default = signature[option["name"]].default
                assert option["required"] == (default is inspect.Parameter.empty)
                assert option["default"] == (None if option["required"] else json.loads(json.dumps(default)))
                assert option["type"]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            ["generator"],
            "KIND: no kind is called 'generator'; allowed: classifiers, datasets, discriminators, features, "
            "generators, losses, metrics, views; did you mean 'generators'?",
        ),
        (
            ["losses", "Hinge"],
            "NAME: no loss is called 'Hinge'; allowed: GeometricHinge, NonSaturating; did you mean 'GeometricHinge'?",
        ),
        (
            ["--imports", "nowhere_at_all"],
            "imports: nowhere_at_all: there is no such module on Python's path nor in {}",
        ),
    ],
)
def test_refusals(components, tmp_path, monkeypatch, arguments, line):
    """An unknown kind, name or module is exit code 2 and one line with the nearest."""
    monkeypatch.chdir(tmp_path)
    assert components(*arguments) == (2, "", f"error: {line.format(tmp_path)}\n")


def test_modules_of_the_users_own(tmp_path):
    """A module in the working directory is listed with the rest, defaults that JSON has no word for included."""
    (tmp_path / "my_losses.py").write_text(
        "from pathlib import Path\n"
        "from components.losses import AdversarialLoss\n"
        "from registry import LOSSES\n\n"
        "@LOSSES.register\n"
        "class MyLoss(AdversarialLoss):\n"
        '    """Mine."""\n\n'
        '    def __init__(self, *, path: Path = Path("a"), pairs: tuple[tuple[int, ...], ...] = ((1,),)) -> None:\n'
        "        super().__init__()\n"
    )
    command = [sys.executable, str(TOOL), "losses", "MyLoss", "--imports", "my_losses"]
    for more, expected in [([], "path   path; default 'a'"), (["--json"], '"default": "a"')]:
        done = subprocess.run([*command, *more], capture_output=True, text=True, check=False, cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        assert expected in done.stdout
    assert json.loads(done.stdout)["losses"][0]["options"][1]["default"] == [[1]]
