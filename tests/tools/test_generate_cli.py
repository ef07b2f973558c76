"""tools/generate.py as a command."""

import os
import runpy
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import zarr

from framework.pictures import to_pixels
from framework.spec_file import load_spec
from framework.train import train

ROOT = Path(__file__).parents[2]
TOOL = ROOT / "tools" / "generate.py"

SETTINGS = """
data=SyntheticClips(clips=8, frames=4, size=8)
graph.clip.frames=4
graph.clip.height=8
graph.clip.width=8
stages.base.clip.frames=2
stages.base.clip.height=4
stages.base.clip.width=4
stages.full.clip.frames=4
stages.full.clip.height=8
stages.full.clip.width=8
stages.full.window=2
stages.base.generator=DVDGenerator(channels=1, multipliers=[1], noise_dim=4, embedding_dim=2)
stages.full.generator=UpsamplingGenerator(channels=1, multipliers=[1], noise_dim=4, embedding_dim=2)
stages.base.discriminators.spatial=null
stages.base.discriminators.temporal=TemporalDiscriminator(channels=1, multipliers=[1], pool=1)
stages.full.discriminators.spatial=null
stages.full.discriminators.temporal=null
stages.full.discriminators.matching=MatchingDiscriminator(channels=1, multipliers=[1])
stages.full.training={}
training.iterations=1
training.batch_size=2
training.standing_passes=1
training.standing_batch=2
""".strip().splitlines()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of the quickstart, shrunk by settings to a second of training."""
    experiment, _ = load_spec(ROOT / "experiments/quickstart.py", SETTINGS)
    return train(experiment, tmp_path_factory.mktemp("cli") / "run").path


@pytest.fixture
def generate(monkeypatch, capsys):
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


def test_as_the_readme_has_it(run, tmp_path):
    """In a process of its own the command names the files it wrote, which are there."""
    command = [sys.executable, str(TOOL), str(run), "--count", "2", "--sigma", "0.5", "--out", str(tmp_path / "out")]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=tmp_path, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    files = [tmp_path / "out" / f"quickstart_full_sigma_0.5.{ending}" for ending in ("mp4", "png", "json")]
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "".join(f"{file}\n" for file in files)
    assert all(file.stat().st_size > 400 for file in files)


def test_defaults(run, generate):
    """Without options: eight samples of the whole cascade beside the run, as film and picture."""
    code, out, err = generate(run)
    assert (code, err) == (0, "")
    assert out == "".join(f"{run}/generated/quickstart_full.{ending}\n" for ending in ("mp4", "png", "json"))


def test_options_reach_the_request(run, generate, tmp_path):
    """Every option ends up in what the Zarr group says was asked for."""
    options = "--stage base --count 3 --frames 3 --label square --sigma 0.25 --seed 11 --rate 7 --format zarr,gif"
    options += " --batch 4 --between 2 5"
    code, out, err = generate(run, *options.split(), "--out", tmp_path)
    assert code == 0
    stem = f"{tmp_path}/quickstart_base_3_frames_2_to_5_square_sigma_0.25_seed_11"
    assert out == f"{stem}.zarr\n{stem}.gif\n{stem}.json\n"
    assert err == "note: base: 3 frames, batch-norm statistics of 2 frames, for 3 (frame 2 held), 1 passes of 2\n"
    assert zarr.open_group(f"{stem}.zarr", mode="r").attrs["request"] == {
        "stage": "base",
        "count": 3,
        "frames": 3,
        "label": "square",
        "sigma": 0.25,
        "seed": 11,
        "formats": ["zarr", "gif"],
        "rate": 7,
        "between": [2, 5],
        "batch": 4,
    }


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["{}/none"], "error: {}/none: holds no run, and is no artifact; allowed: a work directory of tools/train.py"),
        (["{}", "--stage", "fulll"], "no stage is called 'fulll'; allowed: base, full; did you mean 'full'?"),
        (["{}", "--label", "sqare"], "did you mean 'square'?"),
        (["{}", "--format", "mp5"], "error: --format: no format is called 'mp5'; allowed: gif, mp4, png, zarr"),
        (["{}", "--format", ""], "error: --format: no format is called ''"),
        (["{}", "--frames", "0"], "error: --frames: 0 is not at least 1"),
        (["{}", "--out", "/dev/null/out"], "error: /dev/null/out: Not a directory"),
    ],
)
def test_errors_are_one_line(run, generate, arguments, expected):
    """What the user got wrong is one line on stderr, exit code 2, and nothing is written."""
    before = sorted(run.rglob("*"))
    code, out, err = generate(*(argument.format(run) for argument in arguments))
    assert (code, out) == (2, "")
    assert expected.format(run) in err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert sorted(run.rglob("*")) == before


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("--count", "0", "0 is not at least 1"),
        ("--count", "x", "invalid whole number value: 'x'"),
        ("--rate", "-1", "-1 is not at least 1"),
        ("--seed", "-1", "-1 is not at least 0"),
        ("--seed", "1.5", "invalid whole number value: '1.5'"),
        ("--sigma", "nan", "nan is not a number of at least 0"),
        ("--sigma", "inf", "inf is not a number of at least 0"),
        ("--sigma", "much", "invalid number value: 'much'"),
    ],
)
def test_bad_numbers_are_refused(run, generate, option, value, says):
    """Numbers out of range, or none at all, end with exit code 2 and words for people."""
    code, _, err = generate(run, f"{option}={value}")
    assert code == 2
    assert f"error: {option}: {says}" in err


def test_a_scheduler_that_ends_it(run, generate, monkeypatch, tmp_path):
    """SIGTERM amid a film, as Slurm sends it, leaves no half of one; the exit code is that of the signal."""
    calls = []

    def ended(piece):
        calls.append(piece)
        if len(calls) == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return to_pixels(piece)

    monkeypatch.setattr("framework.generate.to_pixels", ended)
    before = signal.getsignal(signal.SIGTERM)
    code, out, _ = generate(run, "--format", "mp4,gif,png,zarr", "--frames", "40", "--out", tmp_path)
    assert (code, out) == (143, "")
    assert len(calls) == 3
    assert list(tmp_path.iterdir()) == []
    assert signal.getsignal(signal.SIGTERM) == before


def test_debug_shows_the_traceback(run, generate):
    """With --debug the error is raised."""
    with pytest.raises(ValueError, match="no stage is called"):
        generate(run, "--stage", "none", "--debug")


def test_help(generate):
    """It says what it does, and gives an example."""
    code, out, _ = generate("--help")
    assert code == 0
    assert "examples: python tools/generate.py runs/quickstart" in out
