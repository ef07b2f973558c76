"""``tools/evaluate.py``: its table, its files, and what it says to wrong input."""

import json
import runpy
import shutil
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
    plots = [json.loads(line)["detail"].get("plot") for line in lines]
    assert plots[1] is None
    assert plots[2] == plots[3] != plots[0]  # a plot for the figures of one protocol
    assert sorted(path.name for path in (run / "evaluation").glob("psd_full_4_*.svg")) == sorted({*plots} - {None})
    for name in plots[0], plots[2]:
        assert (run / "evaluation" / name).read_text().startswith("<?xml")
        assert f"{run}/evaluation/{name}" in out
    with Image.open((run / "evaluation" / plots[2]).with_suffix(".png")) as plot:
        assert plot.width > plot.height > 200


def test_plots_of_other_protocols_stand_beside(run, evaluate, tmp_path):
    """Another seed, sigma or number of videos has a plot of its own; the same again takes the place of its own."""
    for more in ([], ["--seed", "1"], ["--sigma", "0.5"], ["--count", "3"], ["--seed", "1"]):
        assert evaluate(run, "--metrics", "psd", "--count", "2", *more, "--out", tmp_path / "f.jsonl")[0] == 0
    plots = [json.loads(line)["detail"]["plot"] for line in (tmp_path / "f.jsonl").read_text().splitlines()]
    assert len(set(plots)) == 4
    assert [name.rpartition("_")[0] for name in plots] == [
        "psd_full_4",
        "psd_full_4_seed_1",
        "psd_full_4_sigma_0.5",
        "psd_full_4",
    ]
    assert {path.name for path in tmp_path.iterdir() if path.suffix == ".svg"} == set(plots)
    assert len(list(tmp_path.iterdir())) == 9  # and nothing is left over


@pytest.mark.parametrize("damage", [b'{"metric": 3}', b"{]", b"\xff\xfe", b'{"metric": "fid", "value": NaN}'])
def test_damaged_figures_are_found_before_anything_is_measured(run, evaluate, tmp_path, monkeypatch, damage):
    """Whatever is wrong with a line that is there: it is named, and stays as it is."""
    monkeypatch.setattr("framework.evaluate.look", lambda *_: pytest.fail("it measured"))
    path = tmp_path / "f.jsonl"
    path.write_bytes(damage + b"\n")
    code, out, err = evaluate(run, "--metrics", "motion", "--out", path)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"error: --out: {path}")
    assert err.count(str(path)) == 1
    assert err.endswith("or another file by --out\n")
    assert path.read_bytes() == damage + b"\n"


def test_damaged_figures_that_nobody_has_named(run, evaluate, tmp_path, monkeypatch):
    """Those in the run itself: the line has the file once, and no option that was not given before it."""
    monkeypatch.setattr("framework.evaluate.look", lambda *_: pytest.fail("it measured"))
    copy = shutil.copytree(run, tmp_path / "run")
    path = copy / "evaluation" / "figures.jsonl"
    path.parent.mkdir(exist_ok=True)
    path.write_text("{]\n")
    code, out, err = evaluate(copy, "--metrics", "motion")
    assert (code, out, err.count("\n"), err.count(str(path))) == (2, "", 1, 1)
    assert err.startswith(f"error: {path}, line 1: is damaged (")


def test_json_and_another_file(run, evaluate, tmp_path):
    """With --json the figures are on stdout as they are in the file that was asked for."""
    code, out, err = evaluate(run, "--metrics", "motion", "--count", "3", "--json", "--out", tmp_path / "f.jsonl")
    assert (code, err) == (0, "")
    assert out == (tmp_path / "f.jsonl").read_text()
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
        (["--out", "{}/spec.json"], "error: --out: {}/spec.json, line 1: is damaged"),
        (["--out", "{}/new/f.jsonl"], "f.jsonl cannot be written: there is no folder {}/new; allowed: a file in a"),
        (["--out", "{}/base/artifact/generator.safetensors"], "is no text"),
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
