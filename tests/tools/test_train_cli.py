"""tools/train.py as a command: what it says it would train, and what it refuses before anything is written."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from components import Clip
from components.classifiers import VideoClassifier
from components.features import InDomainFeatures
from framework.build import build_discriminators, build_generator
from framework.check_data import open_data
from framework.describe import describe
from framework.run_folder import RunFolder
from framework.spec_file import load_spec
from registry import InputError

ROOT = Path(__file__).parents[2]
TOOL = ROOT / "tools" / "train.py"
CLASSIFIERS = {ROOT / "experiments" / "quickstart_classifier.py"}
SPECS = sorted(set((ROOT / "experiments").glob("*.py")) - CLASSIFIERS)

SPEC = """
from framework import Clip, Experiment, Stage, StageGraph, Training, use

generator = {"channels": 1, "multipliers": [1], "noise_dim": 2, "embedding_dim": 2}
discriminators = {"temporal": use("TemporalDiscriminator", channels=1, multipliers=[1], pool=1)}
base = Stage(
    "base", clip=Clip(2, 4, 4, stride=2), generator=use("DVDGenerator", **generator), discriminators=discriminators
)
full = Stage(
    "full",
    clip=Clip(4, 8, 8),
    source="base",
    view=use("NearestView", time=2, space=2),
    generator=use("UpsamplingGenerator", **generator),
    discriminators=discriminators,
)
experiment = Experiment(
    name="tiny",
    data=use("SyntheticClips", clips=4, frames=4, size=8),
    graph=StageGraph(clip=Clip(4, 8, 8), stages=[base, full]),
    training=Training(batch_size=2, iterations=1, standing_passes=1, standing_batch=1, workers=0),
)
"""

CLASSIFIER = """
from framework import ClassifierExperiment, ClassifierTraining, Clip, use

experiment = ClassifierExperiment(
    name="shapes",
    data=use("SyntheticClips", clips=24, frames=5, size=8),
    clip=Clip(4, 8, 8),
    network=use("VideoClassifier", channels=2, multipliers=[1]),
    training=ClassifierTraining(batch_size=2, iterations=2),
)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working directory, with a spec in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.py").write_text(SPEC)
    return tmp_path


@pytest.fixture
def train(monkeypatch, capsys):
    """The command, called in this process: exit code, stdout and stderr."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", [str(TOOL), *map(str, arguments)])
        monkeypatch.setattr(sys, "path", [str(TOOL.parent), *sys.path])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(TOOL), run_name="__main__")
        return ended.value.code, *capsys.readouterr()

    return call


def held_by(folder):
    """Every file and folder with what it holds."""
    return {
        path: path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
        if "__pycache__" not in path.parts
    }


# Sections 5.1 and 5.2 and appendix B: clip and window of every stage, in and out.
BASE = ("noise -> 32x32/25 @8", "noise -> 32x32/25 @8")
TO_128 = "32x32/25 @8 -> 128x128/50 @4"
KINETICS = [BASE, (TO_128, "32x32/6 @8 -> 128x128/12 @4")]
KINETICS_SHORT = [BASE, (TO_128, "32x32/3 @8 -> 128x128/6 @4")]
PAPER = {
    "bdd_3stage": [
        BASE,
        ("32x32/25 @8 -> 64x64/50 @4", "32x32/6 @8 -> 64x64/12 @4"),
        ("64x64/50 @4 -> 128x128/100 @2", "64x64/6 @4 -> 128x128/12 @2"),
    ],
    "dvd_gan_12": [("noise -> 128x128/12 @4",) * 2],
    "dvd_gan_48": [("noise -> 128x128/48 @4",) * 2],
    "kinetics_2stage": KINETICS,
    "kinetics_2stage_convgru": KINETICS,
    "kinetics_2stage_no_matching": KINETICS_SHORT,
    "kinetics_2stage_window6": KINETICS_SHORT,
}
ITERATIONS = {
    "bdd_3stage": 35_000,
    "kinetics_2stage_convgru": 100_000,
    "kinetics_2stage_no_matching": 100_000,
}


def rows_of(text):
    """The rows of each stage's paragraph: ``{"clip": ..., "window": ..., "generator": ...}``."""
    paragraphs = [paragraph.splitlines() for paragraph in text.split("\n\n")[1:]]
    return [dict(line.strip().split(maxsplit=1) for line in lines[1:]) for lines in paragraphs]


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_dry_run_of_every_shipped_spec(path):
    """At full size, with no device and no data: the paper's clips and windows, iterations, and parameters."""
    experiment, notes = load_spec(path)
    text = describe(experiment)
    assert notes == []
    assert text.startswith(f"{path.stem}: ")
    stages = rows_of(text)
    assert len(stages) == len(experiment.graph.stages)
    if path.stem in PAPER:
        assert [(rows["clip"], rows["window"]) for rows in stages] == PAPER[path.stem]
        assert text.count(f"{ITERATIONS.get(path.stem, 300_000)} iterations of 3 updates") == len(stages)
    for stage, rows in zip(experiment.graph.order(), stages, strict=True):
        for network in ("generator", *stage.discriminators):
            count, said = rows[network].split(maxsplit=1)
            assert int(count.replace(",", "")) > 0
            assert said.startswith("parameters, ")
        assert ("matching" in rows) == (stage.source is not None and path.stem != "kinetics_2stage_no_matching")


def test_every_spec_of_the_paper_is_held_against_it():
    """What is not in the table above is no experiment of the paper."""
    assert {path.stem for path in SPECS} - set(PAPER) == {"quickstart", "folder_64", "dvd_gan_100"}
    assert {path.resolve() for path in (ROOT / "exp").glob("*.py")} == set(SPECS) | CLASSIFIERS


def test_dry_run(folder, train):
    """Says what would be trained, and writes nothing."""
    before = held_by(folder)
    code, out, err = train("tiny.py", "--dry-run", "--set", "stages.full.view=AntialiasedView", "--work-dir", "run")
    assert (code, err) == (0, "")
    base, full = rows_of(out)
    assert base["trains"] == "on  real clips against G(z)"
    assert full["clip"] == "4x4/2 @2 -> 8x8/4 @1"
    assert "AntialiasedView(time=2, space=2)" in full["trains"]
    assert held_by(folder) == before


def test_dry_run_as_json(folder, train):
    """The same facts for a program; parameters are those of the networks that would be trained."""
    code, out, err = train("tiny.py", "--dry-run", "--json")
    assert (code, err) == (0, "")
    facts = json.loads(out)
    assert facts["name"] == "tiny"
    assert [stage["source"] for stage in facts["stages"]] == [None, "base"]
    assert [stage["clip_out"] for stage in facts["stages"]] == ["4x4/2 @2", "8x8/4 @1"]
    experiment, _ = load_spec("tiny.py")
    for stage, said in zip(experiment.graph.stages, facts["stages"], strict=True):
        graph = experiment.graph
        networks = {"generator": build_generator(graph, stage), **build_discriminators(graph, stage)}
        assert said["parameters"] == {n: sum(p.numel() for p in net.parameters()) for n, net in networks.items()}


def test_notes(folder, train):
    """What a setting dropped is noted on stderr, and is no error."""
    code, _, err = train("tiny.py", "--dry-run", "--set", "data=ClipStore", "--set", "data.path=x")
    assert code == 0
    assert err == "note: data: ClipStore has no option clips, frames, size; left out\n"


def test_dry_run_needs_nothing_built(folder, train):
    """What can be declared but not trained yet is described; the description says so."""
    code, out, _ = train("tiny.py", "--dry-run", "--set", "stages.full.joint=true")
    assert code == 0
    assert "jointly with base, end to end (declared; not built yet)" in out


WORK_DIR = ["--work-dir", "run"]


@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        (["none.py"], ["none.py: there is no such spec; allowed: a Python spec (.py) or a saved spec.json"]),
        (
            ["tiny.py", "--set", "seed=x", "--set", "stages.full.window=3"],
            [
                "seed: 'x' is not allowed; allowed: int, at least 0",
                "graph.stages.full.window: 3 frames are no whole number of source frames; allowed: a multiple of 2",
            ],
        ),
        (["tiny.py", "--set", "seed=x", "--dry-run"], ["seed: 'x' is not allowed; allowed: int, at least 0"]),
        (["tiny.py", "--set", "seed"], ["--set seed: is no setting; allowed: KEY=VALUE"]),
        (
            ["tiny.py", "--launcher", "pytorch"],
            [
                "--launcher: 'pytorch' finds no RANK in the environment; allowed: a start by torchrun: "
                "torchrun --nproc-per-node 8 tools/train.py SPEC --launcher pytorch"
            ],
        ),
        (
            ["tiny.py", "--launcher", "slurm"],
            [
                "--launcher: 'slurm' finds no SLURM_PROCID in the environment; allowed: a start by srun: "
                "srun --ntasks-per-node 8 python tools/train.py SPEC --launcher slurm"
            ],
        ),
        (
            ["tiny.py", "--launcher", "mpi"],
            [
                "--launcher: 'mpi' finds no OMPI_COMM_WORLD_RANK or PMI_RANK in the environment; allowed: a start by "
                "mpirun: mpirun -n 8 --bind-to none python tools/train.py SPEC --launcher mpi"
            ],
        ),
        (
            ["tiny.py", "--set", "training.precision=float61"],
            [
                "training.precision: 'float61' is not allowed; "
                "allowed: 'float32' | 'bfloat16' | 'float16'; did you mean 'float16'?"
            ],
        ),
        (
            ["tiny.py", "--set", "training.keep_best=loss_D"],
            [
                "training.keep_best: 'loss_D' does not say which is best of what; "
                'allowed: "min:NAME" or "max:NAME" with a name of metrics.jsonl'
            ],
        ),
        (["tiny.py", "--json"], ["--json: prints a dry run, and there is none; allowed: --json with --dry-run"]),
        (
            ["tiny.py", "--set", "stages.full.joint=true"],
            ["graph.stages.full.joint: joint training (appendix H) is not built yet; allowed: false"],
        ),
        (
            ["tiny.py", "--stage", "ful"],
            ["--stage: no stage is called 'ful'; allowed: base, full; did you mean 'full'?"],
        ),
        (
            ["tiny.py", "--stage", "ful", "--dry-run"],
            ["--stage: no stage is called 'ful'; allowed: base, full; did you mean 'full'?"],
        ),
        (
            ["tiny.py", "--stage", "full"],
            ["--stage: 'full' stands on base, not trained in run; allowed: a stage whose sources are done"],
        ),
        (
            ["tiny.py", "--set", "data.size=16", "--set", "graph.classes=3"],
            [
                "data (SyntheticClips(clips=4, frames=4, size=16)): graph.clip is 8x8/4 @1, but the clips are 16x16; "
                "allowed: clips of 8x8",
                "data (SyntheticClips(clips=4, frames=4, size=16)): graph.classes is 3, but the clips have 4 classes; "
                "allowed: graph.classes=4",
            ],
        ),
        (["tiny.py", "--work-dir", "tiny.py"], ["tiny.py: is not a folder; allowed: a folder for the run"]),
        (["tiny.py", "--work-dir", "tiny.py/run"], ["{}/tiny.py: is not a folder; allowed: a folder for the run"]),
        (
            ["tiny.py", "--work-dir", "."],
            [".: is not empty and holds no run; allowed: an empty or new --work-dir"],
        ),
        (
            ["tiny.py", "--work-dir", ".", "--restart"],
            [".: is not empty and holds no run; allowed: an empty or new --work-dir"],
        ),
    ],
)
def test_refusals(folder, train, arguments, lines):
    """Bad input is exit code 2, a line per problem on stderr, nothing on stdout, and nothing written."""
    before = held_by(folder)
    code, out, err = train(*WORK_DIR, *arguments)
    assert (code, out) == (2, "")
    assert err.splitlines() == [f"error: {line.format(folder)}" for line in lines]
    assert held_by(folder) == before


def test_store_that_is_not_there(folder, train):
    """A dataset that cannot be opened is one line that names it."""
    code, out, err = train("tiny.py", "--set", "data=ClipStore(path='none.zarr')")
    assert (code, out) == (2, "")
    assert "none.zarr" in err
    assert "there is no such store" in err
    assert err.count("\n") == 1
    assert not (folder / "runs").exists()


def test_folder_that_cannot_be_written(folder, train, monkeypatch):
    """A folder without permission to write is refused before training; so is one inside it."""
    (folder / "locked").mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "locked")
    for path, said in [("locked", "locked"), ("locked/run", f"{folder}/locked")]:
        code, _, err = train("tiny.py", "--work-dir", path)
        assert code == 2
        assert err == f"error: {said}: cannot be written; allowed: a --work-dir that can\n"


def test_folder_of_another_run(folder, train):
    """A folder that holds a run of another spec, or on other data, is refused and stays as it is."""
    experiment, _ = load_spec("tiny.py", ["seed=4"])
    RunFolder("run").begin(experiment, open_data(experiment).fingerprint)
    before = held_by(folder)
    code, out, err = train("tiny.py", *WORK_DIR)
    assert (code, out) == (2, "")
    assert err == (
        "error: run: holds a run of another spec (seed is 4 there, 0 here); allowed: another --work-dir, or --restart\n"
    )
    RunFolder("other").begin(load_spec("tiny.py")[0], "0123456789abcdef")
    code, _, err = train("tiny.py", "--work-dir", "other")
    assert code == 2
    assert err.startswith("error: other: holds a run on other data (fingerprint 0123456789ab, now ")
    assert {
        path: held for path, held in held_by(folder).items() if folder / "other" not in (path, *path.parents)
    } == before


def test_trains(folder, train):
    """Without anything wrong a stage is trained in the default folder, with exit code 0."""
    code, out, _ = train("tiny.py", "--stage", "base")
    assert code == 0
    assert "base: stage 1 of 2, 4x4/2 @2" in out
    assert out.endswith("generate from it: python tools/generate.py runs/tiny --stage base\n")
    assert (folder / "runs/tiny/base/artifact/manifest.json").is_file()


def test_debug_lets_the_traceback_through(folder, monkeypatch):
    """With --debug the error itself comes out, with what caused it."""
    (folder / "broken.py").write_text("1 / 0\n")
    monkeypatch.setattr(sys, "argv", [str(TOOL), "broken.py", "--debug"])
    monkeypatch.setattr(sys, "path", [str(TOOL.parent), *sys.path])
    with pytest.raises(InputError) as caught:
        runpy.run_path(str(TOOL), run_name="__main__")
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_as_a_process(folder):
    """From another folder, and for real: exit code 2, one line per problem, no traceback."""
    (folder / "broken.py").write_text("import nowhere_at_all\n")
    command = [sys.executable, str(TOOL), "broken.py"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == "error: broken.py:1: ModuleNotFoundError: No module named 'nowhere_at_all'\n"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            ["tiny.py", "--launcher", "slrm"],
            "--launcher: 'slrm' is not a choice; allowed: none, pytorch, slurm, mpi; did you mean 'slurm'?",
        ),
        (
            ["tiny.py", "--stages", "base"],
            "--stages: no such option; allowed: --debug, --dry-run, --help, --json, --launcher, --restart, --set, "
            "--stage, --work-dir; did you mean '--stage'?",
        ),
        (["tiny.py", "base"], "'base': one argument too many; see --help"),
        (["tiny.py", "--stage"], "--stage: expected one argument; see --help"),
        ([], "SPEC: missing; see --help"),
    ],
)
def test_usage(folder, train, arguments, line):
    """Arguments that the command does not know, too many or none at all: exit code 2 and one line."""
    assert train(*arguments) == (2, "", f"error: {line}\n")


def test_help(train):
    """Every argument is explained, with examples."""
    code, out, _ = train("--help")
    assert code == 0
    for argument in ("--work-dir", "--stage", "--set", "--launcher", "--dry-run", "--json", "--restart", "--debug"):
        assert argument in out
    assert "examples: python tools/train.py exp/quickstart.py" in out


def test_a_classifier_is_described(folder, train):
    """Of its spec, a dry run says network, data and what is held out; as JSON too. Nothing is written."""
    (folder / "shapes.py").write_text(CLASSIFIER)
    before = held_by(folder)
    code, out, err = train("shapes.py", "--dry-run")
    assert (code, err) == (0, "")
    assert out.startswith("shapes: classifier of 8x8/4 @1\n")
    code, text, _ = train("shapes.py", "--dry-run", "--json", "--set", "network.channels=3")
    facts = json.loads(text)
    network = VideoClassifier(Clip(4, 8, 8), 2, channels=3, multipliers=(1,))
    assert facts["parameters"] == sum(parameter.numel() for parameter in network.parameters())
    assert (facts["kind"], facts["features"], facts["iterations"]) == ("classifier", 3, 2)
    assert held_by(folder) == before


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--stage", "base"], "--stage: a classifier has no stages; allowed: no --stage"),
        (["--set", "network=VideoClasifier"], "network: no classifier is called 'VideoClasifier'; allowed: "),
        (["--set", "stages.full.window=4"], "graph: no field is called 'graph'; allowed: "),
        (["--set", "training.held_out=2"], "training.held_out: 2 is not allowed; allowed: number, more than 0 and"),
        (["--set", "data.size=16"], "data (SyntheticClips(clips=24, frames=5, size=16)): clip is 8x8/4 @1, but the"),
        (["--set", "data.path=x"], "data.path: 'path' is not an option of SyntheticClips; allowed: "),
    ],
)
def test_what_a_classifier_refuses(folder, train, arguments, line):
    """One line, exit code 2, nothing written."""
    (folder / "shapes.py").write_text(CLASSIFIER)
    before = held_by(folder)
    code, out, err = train("shapes.py", *arguments)
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {line}")
    assert len(err.splitlines()) == 1
    assert held_by(folder) == before


def test_a_classifier_is_trained_by_the_same_command(folder, train):
    """From its spec to the features; the command again says that it is done."""
    (folder / "shapes.py").write_text(CLASSIFIER)
    for _ in range(2):
        code, out, _ = train("shapes.py", "--set", "training.workers=0")
        assert code == 0
        assert out.splitlines()[-1] == "features for metrics: InDomainFeatures(path='runs/shapes')"
    assert InDomainFeatures(path=folder / "runs" / "shapes").logits_dim == 4
    assert train("shapes.py", "--set", "training.workers=0")[1].startswith(
        "trained in runs/shapes: 2 iterations, tells "
    )
