"""``tools/evaluate.py``: its table, its files, and what it says to wrong input."""

import json
import runpy
import sys
from pathlib import Path

import pytest
from PIL import Image
from test_generate_cli import SETTINGS

from framework.spec_file import load_spec
from framework.train import train

ROOT = Path(__file__).resolve().parents[2]
TOOL = ROOT / "tools" / "evaluate.py"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of the quickstart, shrunk by settings to a second of training."""
    experiment, _ = load_spec(ROOT / "experiments/quickstart.py", SETTINGS)
    return train(experiment, tmp_path_factory.mktemp("evaluate") / "run").path


@pytest.fixture
def evaluate(monkeypatch, capsys):
    """The command, called in this process: exit code, stdout and stderr."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", [str(TOOL), *map(str, arguments)])
        monkeypatch.syspath_prepend(TOOL.parent)
        path = list(sys.path)
        try:
            runpy.run_path(str(TOOL), run_name="__main__")
        except SystemExit as end:
            said = capsys.readouterr()
            return end.code, said.out, said.err
        finally:
            sys.path[:] = path
        raise AssertionError("the command did not exit")

    return call


def test_the_table_and_the_files(run, evaluate):
    """A table on stdout, a line per figure in the run, and the spectra as a plot that opens."""
    code, out, _ = evaluate(run, "--metrics", "psd,motion,PSD(frames=[2,3])", "--count", "4")
    assert code == 0
    lines = (run / "evaluation" / "figures.jsonl").read_text().splitlines()
    assert [json.loads(line)["metric"] for line in lines] == ["psd", "motion", "psd", "psd"]
    assert out.splitlines()[0].split() == ["metric", "value", "95%", "of"]
    assert f"with their protocols in {run}/evaluation/figures.jsonl" in out
    with Image.open(run / "evaluation" / "psd_full_4.png") as plot:
        assert plot.width > plot.height > 200
    assert (run / "evaluation" / "psd_full_4.svg").read_text().startswith("<?xml")


def test_json_and_another_file(run, evaluate, tmp_path):
    """With --json the figures are on stdout as they are in the file that was asked for."""
    code, out, err = evaluate(
        run, "--metrics", "motion", "--count", "3", "--json", "--out", tmp_path / "new" / "f.jsonl"
    )
    assert (code, err) == (0, "")
    assert out == (tmp_path / "new" / "f.jsonl").read_text()
    assert json.loads(out)["protocol"]["videos"]["generated"] == 3


def test_from_an_artifact_alone(run, evaluate, tmp_path, monkeypatch):
    """An artifact's folder does as well; the figures go to the working directory, and the folder stays as it is."""
    monkeypatch.chdir(tmp_path)
    artifact = run / "full" / "artifact"
    before = sorted(artifact.rglob("*"))
    assert evaluate(artifact, "--metrics", "motion", "--count", "2")[0] == 0
    assert (tmp_path / "evaluation" / "figures.jsonl").is_file()
    assert sorted(artifact.rglob("*")) == before


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--metrics", "motoin"], "error: --metrics: no metric is called 'motoin'"),
        (["--metrics", ""], "error: --metrics: no metric is called ''"),
        (["--features", "I4D"], "error: --features: no feature network is called 'I4D'"),
        (["--features", "RandomFeatures(dims=3)"], "'dims' is not an option of RandomFeatures"),
        (["--store", "/none"], "/none: there is no such store"),
        (["--store", ""], "error: --store: the path is empty"),
        (["--out", "{}"], "error: --out: {} is a folder"),
        (["--out", "{}/spec.json"], "error: --out: {}/spec.json holds something else than figures"),
        (["--out", "{}/base/artifact/generator.safetensors"], "holds something else than figures"),
        (["--out", "{}/spec.json/f.jsonl"], "error: --out: {}/spec.json/f.jsonl cannot be written"),
        (["--count", "0"], "error: --count: 0 is not at least 1"),
        (["--stage", "ful"], "did you mean 'full'?"),
    ],
)
def test_errors_are_one_line(run, evaluate, monkeypatch, arguments, says):
    """Exit code 2, one line, nothing measured, nothing written."""
    monkeypatch.setattr("framework.evaluate.look", lambda *_: pytest.fail("it measured"))
    before = sorted(run.rglob("*"))
    code, out, err = evaluate(run, *(argument.format(run) for argument in arguments))
    assert (code, out) == (2, "")
    assert says.format(run) in err
    assert err.count("error: ") == 1
    assert sorted(run.rglob("*")) == before
