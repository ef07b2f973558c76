"""The run of everything that needs a GPU: nothing that was measured is lost, and no part takes another's time."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import gpu
import gpu_ending
import numpy as np
import pytest
from PIL import Image

from gpu_parts import OTHERS, PARTS, PROFILE, Part

SCRIPT = gpu.ROOT / "benchmarks" / "gpu.py"


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Runs the script with these programs for parts; gives its exit code and page."""
    monkeypatch.setattr(gpu, "ON_CPU", 1)
    monkeypatch.setattr(gpu, "LEAST", 0.5)

    def started(programs, *arguments, seconds=20):
        parts = tuple(Part(name, name.title(), seconds, "") for name in programs)
        monkeypatch.setattr(gpu, "PARTS", parts[:-1])
        monkeypatch.setattr(gpu, "PROFILE", parts[-1])
        monkeypatch.setattr(gpu, "_command", lambda part, *_: [sys.executable, "-c", programs[part.name]])
        given = ["gpu.py", "--device", "cpu", "--out", str(tmp_path), *arguments]
        monkeypatch.setattr(sys, "argv", given)
        return gpu.main(), (tmp_path / "gpu.md").read_text()

    return started


def test_all_parts_fit():
    """Into ten minutes with what starts and ends them, whatever each does."""
    assert sum(part.seconds for part in (*PARTS, OTHERS, PROFILE)) <= gpu.LIMIT <= 600 - 20


def test_no_part_outlives_the_limit(run, monkeypatch):
    """Where all of the time is gone a part is left out, and said to be."""
    monkeypatch.setattr(gpu, "LIMIT", 0.4)
    code, page = run({"one": "print('| a | 1 |')", "two": "print('| b | 2 |')"})
    assert code == 1
    assert page.count("not run: no time was left") == 2
    assert "| a |" not in page


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["smoek", "--device", "cpu"], "error: there is no part 'smoek'; allowed: "),
        (
            ["machine", "--device", "cpu", "--out", __file__],
            f"error: --out: {__file__}: File exists; allowed: a folder",
        ),
    ],
)
def test_refusals(arguments, said, monkeypatch, capsys):
    """One line, exit code 2."""
    monkeypatch.setattr(sys, "argv", ["gpu.py", *arguments])
    assert gpu.main() == 2
    assert capsys.readouterr().err.startswith(said)


def test_a_part_that_fails_costs_no_other(run, capsys):
    """What it had written stays, its traceback follows, the next one runs, and the exit code says so."""
    code, page = run({"one": "print('| a | 1 |', flush=True); raise ValueError('broken')", "two": "print('| b | 2 |')"})
    assert code == 1
    order = [
        "## One",
        "| a | 1 |",
        "*one: failed with code 1",
        "Traceback",
        "ValueError: broken",
        "## Two",
        "| b | 2 |",
    ]
    places = [page.index(each) for each in order]
    assert places == sorted(places)
    assert "*two: done" in page
    assert "failed: one" in page.splitlines()[-1]
    assert capsys.readouterr().out == page


CHILD = """
import pathlib, signal, subprocess, time
child = subprocess.Popen(["sleep", "60"], start_new_session=True)
pathlib.Path({path!r}).write_text(str(child.pid))
print("| a | 1 |", flush=True)
"""
"""Starts a process in a session of its own, as torchrun does its workers."""


def _runs(pid):
    """Whether a process does; a dead one that nobody has waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(("then", "said"), [
    ("time.sleep(60)", "stopped after 4 s"),
    ("signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)", "stopped after 4 s"),
    ("", "done"),
], ids=["hangs", "hangs and ignores SIGTERM", "leaves its child behind"])  # fmt: skip
def test_a_part_is_ended_with_all_that_it_started(run, tmp_path, monkeypatch, then, said):
    """What it had written stays; nothing of it runs on, whatever its session."""
    monkeypatch.setattr(gpu_ending, "GRACE", 0.5)
    path = tmp_path / "child"
    code, page = run({"one": CHILD.format(path=str(path)) + then, "two": ""}, "one", seconds=4)
    assert code == int(said != "done")
    assert "| a | 1 |" in page
    assert f"*one: {said}" in page
    assert not _runs(path.read_text())


def test_what_ends_itself_is_given_time(run, tmp_path):
    """A part that hangs is asked first, and may clear up; what it says to that is not shown for its error."""
    clears = f"""
import pathlib, signal, sys, time
def clear(*_):
    time.sleep(0.3)
    pathlib.Path({str(tmp_path / "cleared")!r}).touch()
    sys.exit("asked to end")
signal.signal(signal.SIGTERM, clear)
print("what hangs", file=sys.stderr, flush=True)
time.sleep(60)
"""
    page = run({"one": clears, "two": ""}, "one", seconds=4)[1]
    assert (tmp_path / "cleared").exists()
    assert "what hangs" in page
    assert "asked to end" not in page


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_part_too(tmp_path, number):
    """The script leaves nothing running when it is ended itself."""
    path = tmp_path / "child"
    program = CHILD.format(path=str(path)) + "time.sleep(60)"
    script = f"""
import signal, sys, gpu
signal.signal(signal.SIGINT, signal.default_int_handler)
gpu._command = lambda *_: [sys.executable, "-c", {program!r}]
sys.argv = ["gpu.py", "--device", "cpu", "--out", {str(tmp_path)!r}, "machine"]
with gpu.sigterm_unwinds():
    gpu.main()
"""
    environment = {**os.environ, "PYTHONPATH": str(SCRIPT.parent)}
    with subprocess.Popen([sys.executable, "-c", script], env=environment, stderr=subprocess.DEVNULL) as process:
        until = time.monotonic() + 30
        while not (path.exists() and path.read_text()) and time.monotonic() < until:
            time.sleep(0.05)
        process.send_signal(number)
        code = process.wait(30)
    assert code == (128 + number if number == signal.SIGTERM else -number)
    assert not _runs(path.read_text())


def test_spare_seconds_go_on(run):
    """A part that is done early leaves its time to those after it."""
    code, page = run({"one": "", "two": ""}, seconds=60)
    assert code == 0
    assert 90 < int(re.search(r"two: done, \d+ s of (\d+)", page)[1]) <= 120


def test_an_earlier_run_stays(run, tmp_path):
    """A second run into the same folder adds to page and log, under a heading of its own."""
    says = "import sys; print('{0}'); print('said {0}', file=sys.stderr)"
    for word in ("first", "second"):
        page = run({"one": says.format(word), "two": ""}, "one")[1]
    assert page.index("first") < page.index("second")
    assert len(re.findall(r"^# \d{4}-", page, re.MULTILINE)) == 2
    log = (tmp_path / "gpu.log").read_text()
    assert log.index("said first") < log.index("said second")


def test_what_is_written_is_there_at_once(run, tmp_path):
    """A part finds its own line in the page: it would be there if the script were killed now."""
    reads = f"print('here', flush=True); assert open({str(tmp_path / 'gpu.md')!r}).read().endswith('here\\n')"
    assert run({"one": reads, "two": ""}, "one")[0] == 0


@pytest.mark.parametrize(("arguments", "code", "said"), [
    (("--plan",), 0, "| machine |"),
    (("--device", "cpu", "trainin"), 2, "error: there is no part 'trainin'; allowed: machine, smoke"),
    ((), 2, "error: there is no GPU here"),
])  # fmt: skip
def test_the_command_line(arguments, code, said, tmp_path, monkeypatch):
    """Times without a GPU; one line where there is something wrong, and nothing is written."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    command = [sys.executable, str(SCRIPT), *arguments, "--out", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert said in done.stdout + done.stderr
    assert not (tmp_path / "out").exists()


def test_the_stand_in_is_what_it_stands_for():
    """It is asked by yapf for a folder, and gets a path of the user's."""
    ask = "from platformdirs import user_cache_dir as f; import platformdirs; print(platformdirs.__file__, f('x', 'y'))"
    folder = str(gpu.ROOT / "benchmarks" / "stand_ins")
    done = subprocess.run(
        [sys.executable, "-c", ask],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": folder, "HOME": "/h"},
    )
    assert done.stdout.split() == [f"{folder}/platformdirs.py", "/h/.cache/x"]


def test_pictures_stay_small(tmp_path, monkeypatch):
    """The smallest come first, as long as all of them are small enough to be taken along."""
    random, run = np.random.default_rng(0), tmp_path / "run"
    for name, side in (("base/samples/a.png", 30), ("full/samples/b.png", 40), ("full/samples/c.png", 500)):
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (side, side, 3), dtype=np.uint8)).save(run / name)
    (run / "spec.json").write_text("{}")
    monkeypatch.setattr(gpu, "PICTURES", 50_000)
    gpu._keep_pictures(run, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out" / "pictures").iterdir()) == [
        "base_samples_a.png",
        "full_samples_b.png",
    ]
