"""tools/summary.py as a command."""

import json
from pathlib import Path

import in_process
import pytest

from framework import Clip, Experiment, Stage, StageGraph, Training, dump, use

ROOT = Path(__file__).parents[2]
TOOL = ROOT / "tools" / "summary.py"
QUICK = str(ROOT / "experiments" / "quickstart.py")
CLIP = Clip(4, 8, 8)
ALONE = Experiment(
    name="alone",
    data=use("SyntheticClips", clips=8, frames=10, size=8),
    graph=StageGraph(
        clip=CLIP,
        stages=[
            Stage(
                "only",
                clip=CLIP,
                generator=use("DVDGenerator", channels=2, multipliers=[2]),
                discriminators={"temporal": use("TemporalDiscriminator", channels=2, multipliers=[2], pool=1)},
            )
        ],
    ),
    training=Training(batch_size=8),
)


@pytest.fixture
def summary(monkeypatch, capsys, tmp_path):
    """The command, called in this process in an empty folder: exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        return in_process.call(TOOL, arguments, monkeypatch, capsys)

    return call


@pytest.fixture
def alone(tmp_path_factory):
    """The path of a spec of one small stage."""
    path = tmp_path_factory.mktemp("spec") / "alone.json"
    path.write_text(dump(ALONE))
    return str(path)


def test_all_of_it(summary, alone, tmp_path):
    """Stages, comparison and growth in one go as JSON, and the plot where it was asked for."""
    code, out, err = summary(alone, "--gpus", "2", "--against", alone, "--growth", "growth.png", "--json")
    assert (code, err) == (0, "")
    data = json.loads(out)
    assert [stage["name"] for stage in data["stages"]] == ["only"]
    assert data["stages"][0]["clips"] == 4
    assert data["setting"]["card"]["name"] == "h100"
    assert data["against"]["difference"] == "outputs are alike: 8x8/4 @1"
    assert {figure["ratio"] for figure in data["against"]["figures"].values()} == {1}
    assert data["growth"]["length"]["factors"] == [1, 2, 4]
    assert [path.name for path in tmp_path.iterdir()] == ["growth.png"]


def test_text(summary, alone):
    """Without --json it is tables of at most 100 columns."""
    given = ("--memory", "40", "--rate", "100", "--bandwidth", "1000")
    code, out, err = summary(alone, "--gpu", "a100", *given, "--precision", "bfloat16", "--batch", "3")
    assert (code, err) == (0, "")
    assert "clips at once that fit 40 GB" in out
    assert "on 1 x a100, bfloat16" in out
    assert max(map(len, out.splitlines())) <= 100


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ([QUICK, "--gpu", "h10"], "--gpu: no GPU is called 'h10'"),
        ([QUICK, "--batch", "0"], "--batch: "),
        ([QUICK, "--efficiency", "1.5"], "--efficiency: 1.5 is not above 0 and at most 1"),
        ([QUICK, "--rate", "-3"], "--rate: "),
        ([QUICK, "--precision", "int8"], "--precision: 'int8' is not a choice"),
        ([QUICK, "--gpus", "7"], "training.batch_size: "),
        ([QUICK, "--growth", "growth.svg"], "--growth: growth.svg is no PNG file"),
        ([QUICK, "--growth", f"{TOOL}/growth.png"], "growth.png cannot be written; allowed: a file in a folder"),
        ([QUICK, "--growth", "new/x.png"], "--growth: new/x.png cannot be written: there is no folder new; allowed: a"),
        (["missing.py"], "missing.py: there is no such spec"),
        ([QUICK, "--against", "missing.py"], "missing.py: there is no such spec"),
        ([str(ROOT / "experiments" / "quickstart_classifier.py")], "is the spec of a classifier"),
        ([QUICK, "--set", "training.batch=3"], "training.batch: "),
        ([QUICK, "--set", "training.r1=1", "--precision", "float16"], "training.r1: the penalty's gradients of gradi"),
        ([QUICK, "--set", "training.r1=1", "--set", "training.precision=float16"], "training.r1: the penalty's gradi"),
    ],
)
def test_wrong_input(summary, tmp_path, arguments, line):
    """One line, exit code 2, and nothing written."""
    code, out, err = summary(*arguments)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert err.startswith("error: ")
    assert line in err
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_the_place_of_the_plot(summary, tmp_path):
    """It is refused before anything is counted."""
    (tmp_path / "growth.png").mkdir()
    code, out, err = summary(QUICK, "--growth", "growth.png")
    assert (code, out) == (2, "")
    assert err == "error: --growth: growth.png is a folder; allowed: a file, there or not\n"
