"""The run of everything that needs a GPU: nothing that was measured is lost, and no part takes another's time."""

import subprocess
import sys

import gpu
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
    """Into nine minutes with what starts them, whatever each does: the machine's limit is ten."""
    assert sum(part.seconds for part in (*PARTS, PROFILE)) <= 535
    assert OTHERS.seconds < 30


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


def test_a_part_that_hangs_is_stopped_with_all_that_it_started(run, tmp_path):
    """What it had written stays; nothing of it runs on."""
    mark = tmp_path / "alive"
    child = f"import time, pathlib; time.sleep(3); pathlib.Path({str(mark)!r}).touch()"
    hangs = f"import subprocess, sys; print('| a | 1 |', flush=True); subprocess.run([sys.executable, '-c', {child!r}])"
    code, page = run({"one": hangs, "two": "import time; time.sleep(3); print('| b | 2 |')"}, "one", seconds=2)
    assert code == 1
    assert "| a | 1 |" in page
    assert "*one: stopped after 2 s" in page
    subprocess.run([sys.executable, "-c", "import time; time.sleep(2)"], check=True)
    assert not mark.exists()


def test_spare_seconds_go_on(run):
    """A part that is done early leaves its time to those after it."""
    code, page = run({"one": "", "two": "import time; time.sleep(3)"}, seconds=2)
    assert code == 0
    assert "*two: done" in page
    assert page.endswith("all done.*\n")


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
