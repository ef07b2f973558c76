"""Run folders: begun once, entered again by the same spec on the same data, and by no other."""

import importlib.metadata
import json
import os
import platform
import signal
import subprocess
import sys
from pathlib import Path

import attrs
import pytest
from tiny_runs import two_stages

from framework import load, use
from framework import run_folder as module
from framework.plain_data import differences
from framework.run_folder import RunFolder
from registry import InputError

EXPERIMENT = two_stages()
DATA = "0123456789abcdef"


@pytest.fixture
def run(tmp_path):
    """A run that has begun."""
    run = RunFolder(tmp_path / "runs" / "one")
    run.refuse_others(EXPERIMENT, DATA)
    assert not run.path.parent.exists()
    run.begin(EXPERIMENT, DATA)
    return run


def refusal(run, experiment=EXPERIMENT, data=DATA) -> str:
    before = sorted(run.path.parent.rglob("*"))
    with pytest.raises(InputError) as caught:
        run.refuse_others(experiment, data)
    assert sorted(run.path.parent.rglob("*")) == before
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_run_describes_itself(run):
    """Spec, data, command and versions are there, and the experiment comes back equal."""
    assert load((run.path / "spec.json").read_text()) == run.experiment() == EXPERIMENT
    data = json.loads((run.path / "data.json").read_text())
    assert data == {"component": "SyntheticClips(clips=8, frames=10, size=8)", "fingerprint": DATA}
    [environment] = json.loads((run.path / "environment.json").read_text())
    assert set(environment) == {"python", "platform", "command", "device", "processes", "versions"}
    assert environment["python"] == platform.python_version()
    names = ("stagewise", "torch", "mmengine", "kornia", "timm", "opencv-python", "zarr", "numpy")
    assert environment["versions"] == {name: importlib.metadata.version(name) for name in names}
    assert not list(run.path.glob("*.partial"))


def test_the_same_run_is_entered_again(run):
    """The same spec on the same data may go on; nothing is written over, but each start leaves its record."""
    path = run.path / "environment.json"
    [first] = json.loads(path.read_text())
    path.write_text(json.dumps([{**first, "command": ["earlier"]}]))
    times = {other: other.stat().st_mtime_ns for other in run.path.iterdir() if other != path}
    run.refuse_others(EXPERIMENT, DATA)
    run.begin(EXPERIMENT, DATA)
    assert {other: other.stat().st_mtime_ns for other in run.path.iterdir() if other != path} == times
    assert json.loads(path.read_text()) == [{**first, "command": ["earlier"]}, first]


@pytest.mark.parametrize("content", ["", "[", "{}"])
def test_a_damaged_environment_is_named(run, content):
    """Records that cannot be added to are not written over."""
    (run.path / "environment.json").write_text(content)
    with pytest.raises(InputError, match=f"^{run.path}/environment.json: is damaged .* or no such file$"):
        run.begin(EXPERIMENT, DATA)
    assert (run.path / "environment.json").read_text() == content


def test_missing_data_is_damage(run):
    """A run that no longer says which data it is on is not entered unchecked."""
    (run.path / "data.json").unlink()
    assert refusal(run).startswith(f"{run.path}/data.json: is missing")


OTHER_PROCESS = """
import os, sys
from framework import load
from framework.run_folder import RunFolder
run = RunFolder(sys.argv[1])
run.begin(load(open(sys.argv[2]).read()), "0123456789abcdef")
loader = os.fork() if len(sys.argv) > 3 else 1
if loader:
    print("begun", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("forked", [[], ["forked"]], ids=["alone", "with a loader process"])
def test_one_process_at_a_time(run, tmp_path, forked):
    """While another process trains here, none begins or restarts; once that one is killed, it can go on."""
    spec = run.path / "spec.json"
    run.release()
    command = [sys.executable, "-c", OTHER_PROCESS, str(run.path), str(spec), *forked]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"begun\n"
        before = {path: path.read_bytes() for path in run.path.iterdir()}
        for attempt in (lambda: run.begin(EXPERIMENT, DATA), run.put_aside):
            with pytest.raises(InputError, match=f"^{run.path}: another process trains in it") as caught:
                attempt()
            assert "\n" not in str(caught.value)
        assert {path: path.read_bytes() for path in run.path.iterdir()} == before
        other.send_signal(signal.SIGKILL)
        os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)
        run.begin(EXPERIMENT, DATA)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        (two_stages(iterations=5), "training.iterations is 4 there, 5 here"),
        (attrs.evolve(EXPERIMENT, seed=3), "seed is 0 there, 3 here"),
        (two_stages(full={"window": 6}), "graph.stages[1].window is 4 there, 6 here"),
        (
            two_stages(full={"view": use("AreaView", time=2, space=2)}),
            'graph.stages[1].view.type is "NearestView" there, "AreaView" here',
        ),
        (two_stages(classes=None), "graph.classes is 4 there, null here"),
    ],
)
def test_another_spec_is_refused(run, changed, expected):
    """The error says where the specs differ and what may be done."""
    text = refusal(run, changed)
    assert text == f"{run.path}: holds a run of another spec ({expected}); allowed: another --work-dir, or --restart"


def test_many_differences_are_cut_short(run):
    """Three of them are shown, the rest counted."""
    changed = two_stages(iterations=5, batch_size=6, generator_lr=0.5, discriminator_lr=0.5, standing_passes=9)
    assert refusal(run, changed).count(" there, ") == 3
    assert "; and 2 more)" in refusal(run, changed)


def test_what_does_not_shape_the_result_may_change(run):
    """Loader processes, how often things are written, and how many samples are drawn may differ when a run goes on."""
    run.refuse_others(two_stages(samples=3, log_every=3, sample_every=9, checkpoint_every=7, workers=1), DATA)


def test_other_data_is_refused(run):
    """The same spec on clips that changed is another run."""
    assert "holds a run on other data (fingerprint 0123456789ab, now fedcba)" in refusal(run, data="fedcba")


def test_strange_folders_are_refused(tmp_path):
    """A file, a path through a file, and a folder with something else in it are no place for a run."""
    (tmp_path / "file").write_text("mine")
    assert refusal(RunFolder(tmp_path / "file")).startswith(f"{tmp_path}/file: is not a folder")
    assert refusal(RunFolder(tmp_path / "file" / "a" / "b")).startswith(f"{tmp_path}/file: is not a folder")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("mine")
    assert "is not empty and holds no run" in refusal(RunFolder(tmp_path / "full"))
    (tmp_path / "empty").mkdir()
    RunFolder(tmp_path / "empty").refuse_others(EXPERIMENT, DATA)


def test_unwritable_folders_are_refused(tmp_path, monkeypatch):
    """Whether it is the folder or the first one above it that is there."""
    (tmp_path / "locked").mkdir()
    allowed = os.access
    monkeypatch.setattr(
        module.os, "access", lambda path, mode: Path(path) != tmp_path / "locked" and allowed(path, mode)
    )  # rather than chmod, since root may write anywhere
    for path in (tmp_path / "locked", tmp_path / "locked" / "a" / "b"):
        assert refusal(RunFolder(path)).startswith(f"{tmp_path}/locked: cannot be written")


@pytest.mark.parametrize("file", ["spec.json", "data.json"])
@pytest.mark.parametrize("content", ["", "{", "[]", "\x00"])
def test_damaged_descriptions_are_named(run, file, content):
    """A run folder whose own files are not what they were is refused in one line, not entered nor crashed on."""
    (run.path / file).write_text(content)
    assert refusal(run).startswith(f"{run.path}/{file}: ")


@pytest.mark.parametrize("stops_at", range(1, 5))
def test_a_beginning_cut_short_is_begun_again(tmp_path, monkeypatch, stops_at):
    """Where the first files could not all be written, the same command goes on."""
    original, calls = module.write_whole, []

    def fail(path, text):
        calls.append(path)
        if len(calls) == stops_at:
            path.with_name(path.name + ".partial").write_text(text[:5])
            raise OSError(28, "No space left on device")
        original(path, text)

    run = RunFolder(tmp_path / "run")
    with monkeypatch.context() as patch:
        patch.setattr(module, "write_whole", fail)
        with pytest.raises(OSError, match="No space left"):
            run.begin(EXPERIMENT, DATA)
    run.refuse_others(EXPERIMENT, DATA)
    run.begin(EXPERIMENT, DATA)
    assert run.experiment() == EXPERIMENT


def test_put_aside(run, tmp_path, monkeypatch):
    """An earlier run is moved, whole, to the next free name beside it; what is no run is not touched."""
    spec = (run.path / "spec.json").read_text()
    assert run.put_aside() == run.path.with_name("one.old-1")
    run.begin(EXPERIMENT, DATA)
    assert run.put_aside() == run.path.with_name("one.old-2")
    assert (run.path.with_name("one.old-1") / "spec.json").read_text() == spec
    assert not run.path.exists()
    assert run.put_aside() is None
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").write_text("mine")
    assert RunFolder(tmp_path / "other").put_aside() is None
    assert (tmp_path / "other" / "file").read_text() == "mine"
    run.begin(EXPERIMENT, DATA)
    monkeypatch.chdir(run.path)
    assert RunFolder(".").put_aside().name == "one.old-3"


def test_no_run(tmp_path):
    """What holds no run is said so, be it nothing, a file or a folder."""
    (tmp_path / "file").write_text("")
    for path in (tmp_path, tmp_path / "none", tmp_path / "file"):
        with pytest.raises(InputError, match="holds no run"):
            RunFolder(path).experiment()


def test_differences_of_plain_data():
    """Paths lead into lists and tables; a missing field counts as null; long values are cut."""
    there = {"a": [1, {"b": 2}], "c": None, "e": [1, 2], "same": 0}
    here = {"a": [1, {"b": 3}], "d": "x" * 60, "e": [1], "same": 0}
    assert differences(there, here) == [
        "a[1].b is 2 there, 3 here",
        "e is [1, 2] there, [1] here",
        f'd is null there, "{"x" * 36}... here',
    ]
    assert differences(there, there) == []
