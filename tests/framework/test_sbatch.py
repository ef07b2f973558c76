"""The batch script: what it asks of Slurm, and what it does with the exit code; run here with a stand-in for srun."""

import os
import subprocess
import tempfile
from pathlib import Path

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from framework.sbatch import Job, sbatch_script, time_limit
from registry import InputError

JOB = Job(name="tiny", nodes=2, gpus_per_node=4, cpus_per_gpu=3, seconds=2 * 86400 + 5, folder="/data/me")

STAND_IN = """#!/bin/bash
name=$(basename "$0")
printf '%s\\0' "$@" > "$SAID/$name"
[ "$name" = scontrol ] || exit "$CODE"
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A folder of commands called as Slurm's, which note how they are called; srun ends with a given code."""
    folder = tmp_path_factory.mktemp("bin")
    for name in ("srun", "scontrol"):
        (folder / name).write_text(STAND_IN)
        (folder / name).chmod(0o755)
    return folder


def run(script, cluster, code=0):
    """The exit code of a script, and the arguments of each command that it called."""
    path = f"{cluster}{os.pathsep}{os.environ['PATH']}"
    with tempfile.TemporaryDirectory() as said:
        environ = {**os.environ, "PATH": path, "SAID": said, "CODE": str(code), "SLURM_JOB_ID": "17"}
        ended = subprocess.run(["bash", "-c", script], env=environ, check=False)
        return ended.returncode, {
            each.name: each.read_bytes().decode().split("\0")[:-1] for each in Path(said).iterdir()
        }


def directives(script):
    """The options in the ``#SBATCH`` lines."""
    lines = [line for line in script.splitlines() if line.startswith("#SBATCH ")]
    return dict(line.removeprefix("#SBATCH --").partition("=")[::2] for line in lines)


def test_what_is_asked_for():
    """A task for every GPU, the signal to the tasks (no B: before it), and to be started anew."""
    assert directives(sbatch_script(JOB, ["true"])) == {
        "job-name": "tiny",
        "nodes": "2",
        "ntasks-per-node": "4",
        "gpus-per-node": "4",
        "cpus-per-task": "3",
        "time": "2-00:00:05",
        "signal": "USR1@300",
        "chdir": "/data/me",
        "output": "%x-%j.out",
        "open-mode": "append",
        "requeue": "",
    }


def test_where_to_queue():
    """Partition and account stand there when they are given."""
    found = directives(sbatch_script(attrs.evolve(JOB, partition="long,short", account="lab"), ["true"]))
    assert (found["partition"], found["account"]) == ("long,short", "lab")


def test_without_gpus():
    """One task per node, and no GPU asked for."""
    found = directives(sbatch_script(attrs.evolve(JOB, gpus_per_node=0), ["true"]))
    assert found["ntasks-per-node"] == "1"
    assert "gpus-per-node" not in found


@pytest.mark.parametrize("code", [0, 1, 2, 74, 75, 76, 130, 137, 143])
def test_exit_code(cluster, code):
    """The job ends as srun did; with 75, and when a task was killed, it asks to be started again first."""
    ended, commands = run(sbatch_script(JOB, ["true"]), cluster, code)
    assert ended == code
    assert "srun" in commands
    assert commands.get("scontrol") == (["requeue", "17"] if code in (75, 137) else None)


def test_a_job_whose_tasks_are_always_killed_ends(cluster, monkeypatch):
    """Ten starts are enough for a task that is killed each time; for a time limit there is no end of them."""
    monkeypatch.setenv("SLURM_RESTART_COUNT", "10")
    assert "scontrol" not in run(sbatch_script(JOB, ["true"]), cluster, 137)[1]
    assert "scontrol" in run(sbatch_script(JOB, ["true"]), cluster, 75)[1]


def test_tasks_that_still_end_are_left_to(cluster):
    """One task's exit does not kill the others, which would turn code 75 into another."""
    srun = run(sbatch_script(JOB, ["true"]), cluster)[1]["srun"]
    assert "--kill-on-bad-exit=0" in srun
    [wait] = [option for option in srun if option.startswith("--wait=")]
    assert int(wait.removeprefix("--wait=")) > 0
    assert "--cpus-per-task=3" in srun


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1), max_size=4))
@settings(max_examples=25, deadline=None)
def test_command_arrives_as_it_is(cluster, words):
    """Whatever a command holds, srun gets it word by word."""
    command = run(sbatch_script(JOB, ["python", *words]), cluster)[1]["srun"]
    assert command[command.index("python") + 1 :] == words


@given(st.integers(0, 400), st.integers(0, 23), st.integers(0, 59), st.integers(0, 59))
def test_time_limits(days, hours, minutes, seconds):
    """All of Slurm's ways to write a time mean the same."""
    total = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    written = {f"{days}-{hours:02}:{minutes:02}:{seconds:02}": total, f"{days * 24 + hours}:{minutes}:{seconds}": total}
    written[f"{total // 60}:{seconds:02}"] = total
    written |= {f"{total // 60}": total - seconds, f"{days}-{hours}:{minutes}": total - seconds}
    written[f"{days}-{hours}"] = total - seconds - 60 * minutes
    for text, meant in written.items():
        if meant:
            assert time_limit(text) == meant
        else:
            with pytest.raises(InputError, match="is no time limit"):
                time_limit(text)


@pytest.mark.parametrize("text", ["", "0", "0:00", "1h", "-5", "1:2:3:4", "1-", "1-2-3", "1.5", "UNLIMITED", "٣", "1 "])
def test_no_time_limit(text):
    """What Slurm would not read as a time, or would read as none."""
    with pytest.raises(InputError) as refused:
        time_limit(text)
    assert str(refused.value).startswith(f"--time: {text!r} is no time limit; allowed: D-HH:MM:SS")


def test_refusals_come_together():
    """Every problem of a job, each on its option."""
    changes = {"nodes": 0, "gpus_per_node": -1, "cpus_per_gpu": 0, "name": "a b", "partition": "x\n#SBATCH y"}
    with pytest.raises(InputError) as refused:
        sbatch_script(attrs.evolve(JOB, **changes, account="'", folder="a\nb", seconds=360), ["true"])
    assert [problem.where for problem in refused.value.problems] == [
        "--nodes",
        "--gpus-per-node",
        "--cpus-per-gpu",
        "--job-name",
        "--partition",
        "--account",
        "working directory",
        "--time",
    ]


@pytest.mark.parametrize(
    ("signal", "seconds", "where"),
    [(0, 600, "--signal-seconds"), (70000, 90000, "--signal-seconds"), (540, 600, "--time")],
)
def test_signal_that_cannot_come_in_time(signal, seconds, where):
    """The signal lies within the time limit, and Slurm's minute of grace too."""
    with pytest.raises(InputError) as refused:
        sbatch_script(attrs.evolve(JOB, signal_seconds=signal, seconds=seconds), ["true"])
    assert [problem.where for problem in refused.value.problems] == [where]


def test_longest_signal():
    """One second more than that is enough."""
    assert "USR1@540" in sbatch_script(attrs.evolve(JOB, signal_seconds=540, seconds=601), ["true"])
