"""tools/sbatch.py as a command: the script it prints or writes, and what it refuses."""

import runpy
import shlex
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOL = ROOT / "tools" / "sbatch.py"

SPEC = """
from framework import Clip, Experiment, Stage, StageGraph, Training, use

generator = use("DVDGenerator", channels=1, multipliers=[1], noise_dim=2, embedding_dim=2)
discriminators = {"temporal": use("TemporalDiscriminator", channels=1, multipliers=[1], pool=1)}
base = Stage("base", clip=Clip(2, 8, 8), generator=generator, discriminators=discriminators)
experiment = Experiment(
    name="tiny",
    data=use("SyntheticClips", clips=4, frames=4, size=8),
    graph=StageGraph(clip=Clip(2, 8, 8), stages=[base]),
    training=Training(batch_size=16, workers=5),
)
"""


@pytest.fixture
def sbatch(tmp_path, monkeypatch, capsys):
    """The command, called in this process where a spec lies: exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.py").write_text(SPEC)

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", [str(TOOL), *map(str, arguments)])
        monkeypatch.setattr(sys, "path", [str(TOOL.parent), *sys.path])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(TOOL), run_name="__main__")
        return ended.value.code, *capsys.readouterr()

    return call


CLASSIFIER = """
from framework import ClassifierExperiment, ClassifierTraining, Clip, use

experiment = ClassifierExperiment(
    name="shapes", data=use("SyntheticClips"), clip=Clip(16, 32, 32), training=ClassifierTraining(workers=3)
)
"""


def test_a_classifier(sbatch, tmp_path):
    """Its spec is trained by a job like a cascade's; batches that do not go among the tasks are refused."""
    (tmp_path / "shapes.py").write_text(CLASSIFIER)
    code, script, err = sbatch("shapes.py")
    assert (code, err) == (0, "")
    assert command_of(script)[2:3] == ["shapes.py"]
    assert {"#SBATCH --job-name=shapes", "#SBATCH --cpus-per-task=4"} <= set(script.splitlines())
    code, _, err = sbatch("shapes.py", "--set", "training.batch_size=20")
    assert code == 2
    assert err.startswith("error: training.batch_size: 20 clips cannot be shared evenly by 8 processes")


def command_of(script):
    """What srun starts in every task."""
    [line] = [line for line in script.splitlines() if line.startswith("srun ")]
    words = shlex.split(line)
    return words[words.index(sys.executable) :]


def test_script(sbatch, tmp_path):
    """It trains the spec where the command was given, with the settings given, by this Python."""
    changes = ["--set", "training.batch_size=64", "--set", "seed=3"]
    code, script, err = sbatch("tiny.py", "--nodes", "4", "--work-dir", "runs/a b", *changes)
    assert (code, err) == (0, "")
    options = ["--launcher", "slurm", "--work-dir", "runs/a b", *changes]
    assert command_of(script) == [sys.executable, str(ROOT / "tools" / "train.py"), "tiny.py", *options]
    lines = script.splitlines()
    assert lines[0] == "#!/bin/bash"
    assert {
        "#SBATCH --job-name=tiny",
        "#SBATCH --nodes=4",
        "#SBATCH --gpus-per-node=8",
        "#SBATCH --cpus-per-task=6",
        "#SBATCH --time=1-00:00:00",
        f"#SBATCH --chdir={shlex.quote(str(tmp_path))}",
    } <= set(lines)


def test_file(sbatch, tmp_path):
    """Written to a new file, and never over another."""
    path = tmp_path / "job.sh"
    code, out, _ = sbatch("tiny.py", "--out", path)
    assert (code, out) == (0, f"submit it: sbatch {path}\n")
    assert path.read_text() == sbatch("tiny.py")[1]
    path.write_text("mine")
    code, out, err = sbatch("tiny.py", "--out", path)
    assert (code, out, err) == (2, "", f"error: --out: {path} is there already; allowed: a new file\n")
    assert path.read_text() == "mine"


def test_a_folder_that_is_not_there(sbatch, tmp_path):
    """It is what the line names, and it is not made."""
    code, out, err = sbatch("tiny.py", "--out", "nodir/j.sh")
    says = "there is no folder nodir; allowed: a file in a folder that is there"
    assert (code, out, err) == (2, "", f"error: --out: nodir/j.sh cannot be written: {says}\n")
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.py"]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["none.py"], "none.py: there is no such spec; allowed: a Python spec (.py) or a saved spec.json"),
        (
            ["tiny.py", "--set", "seed=x"],
            "seed: 'x' is not allowed; allowed: int, at least 0",
        ),
        (
            ["tiny.py", "--time", "1d"],
            "--time: '1d' is no time limit; allowed: D-HH:MM:SS, or a part: MM, MM:SS, HH:MM:SS, D-HH, D-HH:MM",
        ),
        (
            ["tiny.py", "--time", "5:00"],
            "--time: 0-00:05:00 is over when training is asked to stop, 300 s before the end; "
            "allowed: more than 0-00:06:00, or fewer --signal-seconds",
        ),
        (
            ["tiny.py", "--nodes", "3"],
            "training.batch_size: 16 clips cannot be shared evenly by 24 processes; allowed: a multiple of 24",
        ),
    ],
)
def test_refusals(sbatch, tmp_path, arguments, line):
    """Now, not in the queue: exit code 2, one line, and no script."""
    path = tmp_path / "job.sh"
    code, out, err = sbatch(*arguments, "--out", path)
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {line}")
    assert not path.exists()
