"""tools/synthetic.py, tools/ingest.py and tools/store.py as commands."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from unittest.mock import ANY

import av
import pytest

ROOT = Path(__file__).parents[2]
LEVELS_SPEC = """
from experiments.quickstart import experiment as quickstart
import attrs
from components.clip import Clip
from framework import use, Stage, StageGraph

full = Clip(frames=4, height=16, width=16)
view = use("NearestView", space=2)
stages = [
    attrs.evolve(quickstart.graph.stages[0], clip=Clip(frames=4, height=8, width=8)),
    attrs.evolve(quickstart.graph.stages[1], clip=full, view=view, window=4),
]
experiment = attrs.evolve(quickstart, graph=StageGraph(clip=full, stages=stages))
"""


def _tool(name, *arguments):
    command = [sys.executable, str(ROOT / "tools" / f"{name}.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Eight synthetic videos and the store made of them, both by command."""
    folder = tmp_path_factory.mktemp("data")
    drawn = _tool("synthetic", folder / "videos", "--clips", 8, "--frames", 6, "--size", 16)
    assert (drawn.returncode, drawn.stderr) == (0, "")
    assert "8 videos written, 0 were there already" in drawn.stdout
    made = _tool("ingest", folder / "videos", folder / "a.zarr", "--size", 16, "--stride", 2)
    assert made.returncode == 0
    assert made.stderr.startswith(f"{folder}/a.zarr: 8 videos, 24 frames, 193 kB; ")
    assert made.stdout == f"{folder}/a.zarr: 8 clips, 4 classes, 24 frames; written\n"
    return folder


def test_running_again_carries_on(folder):
    """Both commands, run again, say that there is nothing to do and succeed."""
    drawn = _tool("synthetic", folder / "videos", "--clips", 8, "--frames", 6, "--size", 16)
    made = _tool("ingest", folder / "videos", folder / "a.zarr", "--size", 16, "--stride", 2)
    assert drawn.returncode == made.returncode == 0
    assert "0 videos written, 8 were there already" in drawn.stdout
    assert "stands there already" in made.stdout


def test_info(folder, tmp_path):
    """Info prints the facts, as text and as JSON, and draws a picture of clips by frames."""
    facts = json.loads(_tool("store", "info", folder / "a.zarr", "--json").stdout)
    expected = {"clips": 8, "frames": 24, "shortest": 3, "longest": 3, "height": 16, "stride": 2, "codec": "none"}
    assert expected.items() <= facts.items()
    assert facts["classes"] == ["circle", "cross", "square", "triangle"]
    assert facts["hours"] == pytest.approx(8 * 6 / 25 / 3600, abs=1e-4)  # six frames each at 25 a second
    assert facts["levels"] == [{"height": 16, "width": 16, "view": "", "shards": 1, "bytes": ANY}]
    assert facts["bytes"] > facts["levels"][0]["bytes"] > 24 * 16 * 16 * 3
    done = _tool("store", "info", folder / "a.zarr", "--picture", tmp_path / "sheet.png")
    assert done.returncode == 0
    assert "4 (circle, cross, square, triangle)" in done.stdout
    with av.open(str(tmp_path / "sheet.png")) as picture:
        frame = next(picture.decode(video=0))
    assert (frame.height, frame.width) == (8 * 16, 8 * 16)


def test_info_of_levels_and_splits(folder, tmp_path):
    """Info tells of every level by its view, and how many clips each split has."""
    for number, split in enumerate(["train", "train", "val"]):
        (tmp_path / "source" / split / "dancing").mkdir(parents=True, exist_ok=True)
        video = folder / f"videos/circle/circle_000{number % 2 + 1}.mp4"
        shutil.copy(video, tmp_path / "source" / split / "dancing" / f"abcdefghij{number}_000000_000010.mp4")
    (tmp_path / "spec.py").write_text(LEVELS_SPEC)
    arguments = ["--layout", "kinetics", "--size", 16, "--levels", tmp_path / "spec.py"]
    made = _tool("ingest", tmp_path / "source", tmp_path / "a.zarr", *arguments)
    assert made.returncode == 0, made.stderr
    facts = json.loads(_tool("store", "info", tmp_path / "a.zarr", "--json").stdout)
    assert facts["attributes"] == {"split": {"train": 2, "val": 1}}
    assert [(level["height"], level["view"]) for level in facts["levels"]] == [(16, ""), (8, "nearest space=2")]
    done = _tool("store", "info", tmp_path / "a.zarr")
    assert "level 1" in done.stdout
    assert "nearest space=2" in done.stdout
    assert "train 2, val 1" in done.stdout


def test_verify(folder, tmp_path):
    """Verify succeeds on a sound store, and on a damaged one names shard and clips with exit code 1."""
    assert _tool("store", "verify", folder / "a.zarr").returncode == 0
    copy = tmp_path / "b.zarr"
    subprocess.run(["cp", "-r", folder / "a.zarr", copy], check=True)
    shard = copy / "levels/0/c/0/0/0/0"
    data = bytearray(shard.read_bytes())
    data[0] ^= 1
    shard.write_bytes(data)
    done = _tool("store", "verify", copy)
    assert done.returncode == 1
    assert f"{shard}: is damaged in 1 chunks; 3 clips: 0 (circle/circle_0001.mp4)" in done.stdout
    [damage] = json.loads(_tool("store", "verify", copy, "--json").stdout)
    assert [clip["clip"] for clip in damage["clips"]] == [0, 1, 2]
    (copy / "names.json").write_text("[]")
    done = _tool("store", "verify", copy)
    assert done.returncode == 1
    assert f"{shard}: is damaged in 1 chunks; 3 clips: 0 (its name is damaged), 1" in done.stdout
    assert f"{copy}/names.json: differs" in done.stdout
    damaged = {each["file"]: each["clips"] for each in json.loads(_tool("store", "verify", copy, "--json").stdout)}
    assert damaged["levels/0/c/0/0/0/0"][0] == {"clip": 0, "name": None}
    (copy / "clips/offset/c/0").unlink()
    done = _tool("store", "verify", copy)
    assert done.returncode == 1
    assert done.stderr == f"error: {copy}/clips/offset/c/0: is missing\n"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            ["ingest", "nowhere", "{}/new.zarr"],
            "error: nowhere: there is no such folder; allowed: a folder of videos (.avi,",
        ),
        (["ingest", "{}/videos", "{}/a.zarr", "--size", 8], "size 16, not 8; stride 2, not 1"),
        (["ingest", "{}/videos", "{}/videos"], "no clip store stands here"),
        (["ingest", "{}/videos", "/dev/null/a.zarr"], "error: /dev/null: "),
        (["store", "info", "{}/none.zarr"], "there is no such store"),
        (["store", "verify", "{}/videos"], "not a clip store"),
        (["store", "info", "{}/a.zarr", "--picture", "{}/none/a.png"], "error: {}/none/a.png: No such file"),
        (["store", "info", "{}/a.zarr", "--picture", "{}/a.jpg"], "is not named as PNG; allowed: FILE.png"),
        (["store", "info", "{}/a.zarr", "--picture", "{}"], "--picture: '{}' is a folder; allowed: FILE.png"),
        (["store", "verify", "{}/a.zarr", "--picture", "{}/a.png"], "--picture: verify draws none; allowed: with info"),
        (["ingest", "{}/videos", "{}/videos/new.zarr"], "lie one in the other; allowed: a place outside SOURCE"),
        (["ingest", "{}/videos", "{}/videos/a/b.zarr", "--task-index", 0, "--task-count", 1], "lie one in the other"),
        (["ingest", "{}/videos", "{}"], "lie one in the other"),
        (["synthetic", "{}/new", "--size", 4], "error: size: 4 is not allowed; allowed: int, at least 8"),
        (["synthetic", "{}"], "something else stands here"),
    ],
)
def test_errors_are_one_line(folder, arguments, expected):
    """What the user got wrong is one line on stderr with exit code 2, no traceback, and nothing is written."""
    before = sorted(folder.rglob("*"))
    done = _tool(*(str(argument).format(folder) for argument in arguments))
    assert done.returncode == 2
    assert expected.format(folder) in done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize(
    "arguments", [["--size", "0"], ["--size", "x"], ["--max-broken", "2"], ["--layout", "imagenet"]]
)
def test_bad_options_are_refused(folder, arguments):
    """Options out of range end with exit code 2 and one line."""
    done = _tool("ingest", folder / "videos", folder / "new.zarr", *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {arguments[0]}: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["ingest", "", "{}/new.zarr"], "SOURCE"),
        (["ingest", "{}/videos", ""], "STORE"),
        (["ingest", "{}/videos", "{}/new.zarr", "--levels", ""], "--levels"),
        (["ingest", "{}/videos", "{}/new.zarr", "--scheduler", ""], "--scheduler"),
        (["store", "info", ""], "STORE"),
    ],
)
def test_empty_arguments_are_refused(folder, arguments, name):
    """A variable of the shell that is not set is neither the folder one is in nor an option not given."""
    before = sorted(folder.rglob("*"))
    done = _tool(*(argument.format(folder) for argument in arguments))
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {name}: ")
    assert "is empty" in done.stderr
    assert sorted(folder.rglob("*")) == before


def test_debug_shows_the_traceback():
    """With --debug the traceback is there."""
    assert "Traceback" in _tool("store", "info", "nowhere", "--debug").stderr


@pytest.mark.parametrize("name", ["synthetic", "ingest", "store"])
def test_help(name):
    """Every command says what it does and gives an example."""
    done = _tool(name, "--help")
    assert done.returncode == 0
    assert f"example: python tools/{name}.py" in done.stdout


def test_full_disk_is_one_line(folder):
    """A file that cannot be written whole is one line with the place; with room, the same command goes on."""
    command = f"exec {sys.executable} tools/ingest.py {folder}/videos {folder}/big.zarr --size 64"
    done = subprocess.run(
        ["bash", "-c", f"ulimit -f 40; {command}"], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(f"error: {folder}/big.zarr.partial")
    assert "Traceback" not in done.stderr
    assert not (folder / "big.zarr").exists()
    assert subprocess.run(["bash", "-c", command], capture_output=True, check=False, cwd=ROOT).returncode == 0
    assert [path.name for path in folder.glob("big.zarr*")] == ["big.zarr"]


@pytest.mark.parametrize("codec", ["none", "zstd"])
def test_a_size_that_no_memory_holds(folder, codec):
    """Pictures larger than anything has room for are refused in one line, and nothing is written."""
    done = _tool("ingest", folder / "videos", folder / "huge.zarr", "--size", 9999999999999, "--codec", codec)
    assert done.returncode == 2
    assert done.stderr == "error: --size: 9999999999999 is not allowed; allowed: 1 to 4096\n"
    assert not list(folder.glob("huge.zarr*"))


@pytest.mark.parametrize("address", ["nonsense", "foo:bar", "http://127.0.0.1:1"])
def test_no_address_of_a_scheduler(folder, address):
    """A wrong --scheduler is found out before anything is planned: one line, nothing after it, nothing written."""
    pytest.importorskip("distributed")
    done = _tool("ingest", folder / "videos", folder / "far.zarr", "--scheduler", address)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: --scheduler: no Dask scheduler answers at '{address}'")
    assert done.stderr.count("\n") == 1
    assert not list(folder.glob("far.zarr*"))
