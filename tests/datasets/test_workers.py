"""Jobs in processes that may die."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import attrs
import pytest

from datasets.workers import Worker, run_jobs, stop_resting
from registry import InputError


@attrs.frozen
class Job:
    """Behaves at each step as its name says; the result is what was done, and what was forbidden."""

    steps: tuple[str, ...]
    mark: Path | None = None

    def __call__(self, forbidden, begin):
        done = []
        for number, name in enumerate(self.steps):
            begin(number)
            if number in forbidden:
                done.append(forbidden[number])
                continue
            self._act(name)
            done.append(name)
        return done

    def _act(self, name):
        if name == "crash":
            os.abort()
        if name.endswith("once") and not self.mark.exists():
            self.mark.touch()
            self._act(name.removesuffix(" once"))
        if name == "memory":
            raise MemoryError
        if name == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if name == "wait":
            with self.mark.open("a") as file:
                file.write("begun\n")
            while not self.mark.with_suffix(".go").exists():
                time.sleep(0.01)
        if name == "hang":
            time.sleep(60)
        if name == "bug":
            raise ZeroDivisionError("a fault of the program")
        if name == "input":
            raise InputError.of("here", "is wrong", "right")
        if name == "disk":
            raise OSError(28, "No space left on device", "a/shard")


@pytest.fixture(autouse=True)
def _stop():
    """Leave no process to the next test, which may have another path of modules."""
    yield
    stop_resting()


def _run(*jobs, **more):
    return dict(run_jobs([Job(steps) for steps in jobs], 2, **more))


def test_crashes_and_hangs_are_stepped_over():
    """A step that crashes or hangs its process is forbidden, the job's other steps and other jobs are done."""
    done = _run(("a", "crash", "b"), ("c",), ("hang", "d"), ("e", "f"), timeout=3.0)
    assert done[0] == ["a", f"crashed the decoder (exit code {-signal.SIGABRT})", "b"]
    assert done[2] == ["made no progress for 3 s", "d"]
    assert (done[1], done[3]) == (["c"], ["e", "f"])


@pytest.mark.parametrize("step", ["crash once", "kill once", "hang once", "memory once"])
def test_one_failure_is_nobodys_fault(tmp_path, step):
    """A process that somebody killed, or that waited too long for a disk, is replaced, and its step is done."""
    [(_, done)] = run_jobs([Job(("a", step, "b"), tmp_path / "mark")], 1, timeout=3.0)
    assert done == ["a", step, "b"]


def test_too_little_memory_is_no_bug():
    """A step that twice finds too little memory is forbidden, and the others are done."""
    assert _run(("a", "memory", "b"))[0] == ["a", "ran out of memory", "b"]


def test_suspended_job_blames_nobody(tmp_path):
    """When all processes stood still for longer than a step may take, the step goes on and is not begun again."""
    mark = tmp_path / "mark"
    code = (
        "import sys, test_workers as t; from pathlib import Path; from datasets.workers import run_jobs\n"
        "print(list(run_jobs([t.Job(('wait', 'a'), Path(sys.argv[1]))], 1, timeout=3.0)))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", code, str(mark)]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, start_new_session=True)
    while not mark.exists():
        time.sleep(0.01)
    os.killpg(parent.pid, signal.SIGSTOP)
    time.sleep(5)
    os.killpg(parent.pid, signal.SIGCONT)
    mark.with_suffix(".go").touch()
    assert parent.communicate()[0] == "[(0, ['wait', 'a'])]\n"
    assert mark.read_text() == "begun\n"


@pytest.mark.parametrize(
    ("step", "kind", "text"),
    [
        ("bug", RuntimeError, "a fault of the program"),
        ("input", InputError, "here: is wrong; allowed: right"),
        ("disk", OSError, "a/shard"),
    ],
)
def test_errors_come_through(step, kind, text):
    """An error that is not the video's is raised where the jobs were started."""
    with pytest.raises(kind, match=text):
        _run(("a", step))


def test_steps_are_told():
    """Whoever started the jobs is told of each step as it begins."""
    told = []
    list(run_jobs([Job(("a", "b"))], 1, on_step=lambda job, step: told.append((job, step))))
    assert told == [(0, 0), (0, 1)]


class _Unpicklable:
    """A job that no process can be given."""

    def __reduce__(self):
        return (_fail, ())


def _fail():
    raise ZeroDivisionError


def test_a_job_that_cannot_start_is_an_error():
    """When a job cannot even be begun, that is an error of the run and of no step."""
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        list(run_jobs([_Unpicklable()], 1))


def test_process_ends_with_its_parent():
    """The process of a job that hangs ends when its parent is killed."""
    code = (
        "import sys, test_workers as t; from datasets.workers import run_jobs\n"
        "def tell(job, step): print(t.Worker._last, flush=True)\n"
        "run = t.Worker.start\n"
        "def start(self, *rest): t.Worker._last = self._process.pid; run(self, *rest)\n"
        "t.Worker.start = start; list(run_jobs([t.Job(('hang',))], 1, on_step=tell))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment)
    child = int(parent.stdout.readline())
    assert _runs(child)
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 20
    while _runs(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _runs(child)


def _runs(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_worker_is_kept_for_the_next_jobs():
    """A process that is done with a job does the next one."""
    _run(("a",))
    worker = Worker.idle()
    assert worker is not None
    worker.rest()
    pid = worker._process.pid
    _run(("b",))
    again = Worker.idle()
    assert again._process.pid == pid
    again.stop()
