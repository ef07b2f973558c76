"""Two tasks in a real Slurm, and batch jobs that are stopped, started anew and cancelled."""

import json
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file
from tiny_quickstart import ROOT, SPEC, done, settings, training

from framework.launch import place
from framework.sbatch import Job, sbatch_script

SERVICES = ROOT / "tests" / "services"
MEET = [sys.executable, SERVICES / "meet.py", "slurm"]
ITERATIONS = 12
OVER = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL")

# One Slurm serves them all, in one test process.
pytestmark = [pytest.mark.slurm, pytest.mark.xdist_group("slurm")]


def wait_for(*paths):
    """Until all of ``paths`` are there."""
    deadline = time.monotonic() + 120
    while not all(path.exists() for path in paths):
        assert time.monotonic() < deadline, f"not there: {[str(path) for path in paths if not path.exists()]}"
        time.sleep(0.05)


def met(stdout):
    """What the two processes of meet.py found; they are ranks 0 and 1 and added up 1 and 2."""
    found = [json.loads(line) for line in stdout.splitlines()]
    assert {(each["rank"], each["local_rank"], each["world"], each["total"]) for each in found} == {
        (0, 0, 2, 3.0),
        (1, 1, 2, 3.0),
    }
    return found


def test_tasks_of_a_step_meet(slurm):
    """Each task of srun is a rank."""
    ended = slurm.run("srun", "--ntasks=2", *MEET)
    assert ended.returncode == 0, ended.stderr
    assert {each["address"] for each in met(ended.stdout)} == {"127.0.0.1"}


def test_in_an_allocation_without_srun(slurm):
    """The command as written starts itself in all tasks."""
    ended = slurm.run("salloc", "--ntasks=2", *MEET)
    assert ended.returncode == 0, ended.stderr
    met(ended.stdout)


def test_in_a_batch_script_without_srun(slurm, tmp_path):
    """The same where Slurm calls the batch script task 0; the job's exit code is the command's."""
    script = tmp_path / "job.sh"
    script.write_text(f"#!/bin/bash\n{sys.executable} {SERVICES / 'meet.py'} slurm > met.txt\n")
    job = slurm.submit(script, "--ntasks=2", "--cpus-per-task=2", cwd=tmp_path)
    slurm.await_state(job, *OVER)
    met((tmp_path / "met.txt").read_text())


def test_jobs_do_not_meet_each_other(slurm):
    """Two at once on one machine have ports of their own."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": slurm.environ}
    running = [subprocess.Popen(["srun", "--ntasks=2", *MEET, "3"], **pipes) for _ in range(2)]
    said = [each.communicate() for each in running]
    assert [each.returncode for each in running] == [0, 0], said
    ports = [{each["port"] for each in met(out)} for out, _ in said]
    assert [len(each) for each in ports] == [1, 1]
    assert ports[0] != ports[1]


def test_first_host_of_a_list(slurm, monkeypatch):
    """Slurm's own command takes lists of hosts apart."""
    monkeypatch.setenv("SLURM_CONF", str(slurm.conf))
    step = {"SLURM_PROCID": "5", "SLURM_LOCALID": "1", "SLURM_STEP_NUM_TASKS": "8", "SLURM_JOB_ID": "7"}
    hosts = {"SLURM_STEP_NUM_NODES": "4", "SLURM_STEP_NODELIST": "gpu[07-09,12],big3"}
    assert place("slurm", {**step, **hosts}).address == "gpu07"


@pytest.fixture
def stoppable(slurm, tmp_path):
    """A batch job whose two tasks wait to be stopped."""
    command = [sys.executable, str(SERVICES / "stoppable.py"), str(tmp_path)]
    job = Job(name="stoppable", gpus_per_node=2, seconds=600, signal_seconds=60, folder=str(tmp_path))
    (tmp_path / "job.sh").write_text(sbatch_script(job, command))
    number = slurm.submit("job.sh", cwd=tmp_path)
    wait_for(tmp_path / "start.0.0", tmp_path / "start.0.1")
    return number


def stopped_by(folder):
    """The signals by which the two tasks were stopped, once they have ended."""
    wait_for(folder / "stopped.0", folder / "stopped.1")
    return {(folder / f"stopped.{rank}").read_text() for rank in range(2)}


def test_time_is_nearly_up(slurm, stoppable, tmp_path):
    """The signal before the time limit, which goes to the tasks alone: code 75, and the job is started once more."""
    assert slurm.run("scancel", "--signal=USR1", stoppable).returncode == 0
    assert stopped_by(tmp_path) == {"SIGUSR1"}
    wait_for(tmp_path / "start.1.0", tmp_path / "start.1.1")
    job = slurm.await_state(stoppable, *OVER)
    assert (job["JobState"], job["Restarts"], job["ExitCode"]) == ("COMPLETED", "1", "0:0")


def test_preempted(slurm, stoppable, tmp_path):
    """The tasks can save, and the job is started once more, though its script had no say in it."""
    assert slurm.run("scontrol", "requeue", stoppable).returncode == 0
    assert stopped_by(tmp_path) == {"SIGTERM"}
    wait_for(tmp_path / "start.1.0", tmp_path / "start.1.1")
    job = slurm.await_state(stoppable, *OVER)
    assert (job["JobState"], job["Restarts"], job["ExitCode"]) == ("COMPLETED", "1", "0:0")


def test_cancelled(slurm, stoppable, tmp_path):
    """The tasks can save, and the job stays cancelled, though they end with code 75."""
    assert slurm.run("scancel", stoppable).returncode == 0
    assert stopped_by(tmp_path) == {"SIGTERM"}
    while slurm.run("sinfo", "-h", "-o", "%t").stdout.strip() != "idle":
        time.sleep(0.1)
    # A job that another is behind of would have been started by now, had it been queued again.
    assert slurm.run("srun", "--ntasks=2", "--gpus-per-node=2", "true").returncode == 0
    job = slurm.job(stoppable)
    assert (job["JobState"], job["Restarts"]) == ("CANCELLED", "0")


def test_failed(slurm, tmp_path):
    """A job that ends with another code is not started again, and has that code."""
    job = Job(name="fails", gpus_per_node=2, seconds=600, signal_seconds=60, folder=str(tmp_path))
    (tmp_path / "job.sh").write_text(sbatch_script(job, ["bash", "-c", "exit 3"]))
    ended = slurm.await_state(slurm.submit("job.sh", cwd=tmp_path), *OVER)
    assert (ended["JobState"], ended["Restarts"], ended["ExitCode"]) == ("FAILED", "0", "3:0")


@pytest.fixture(scope="module")
def by_srun(slurm, tmp_path_factory):
    """The quickstart trained by two tasks, never stopped: the folder of the run and what was said."""
    run = tmp_path_factory.mktemp("srun") / "run"
    ended = slurm.run("srun", "--ntasks=2", *training("slurm", run, ITERATIONS), cwd=ROOT, timeout=300)
    assert ended.returncode == 0, ended.stderr
    return run, ended.stdout


def assert_same_weights(run, other):
    """The generators of both stages are equal bit for bit."""
    for stage in ("base", "full"):
        ours, theirs = (load_file(each / stage / "artifact" / "generator.safetensors") for each in (run, other))
        assert ours.keys() == theirs.keys()
        assert all(ours[name].equal(theirs[name]) for name in ours)


def test_training(by_srun):
    """The quickstart trains; one of the two tasks speaks."""
    run, said = by_srun
    assert done(run)
    assert said.count(f"trained in {run}") == 1


def test_training_on_two_nodes(two_nodes, by_srun, tmp_path):
    """One task on each of two nodes, met on the first one's name, end in the weights of two tasks on one node."""
    spread = ("--nodes=2", "--ntasks-per-node=1")
    ended = two_nodes.run("srun", *spread, *MEET)
    assert ended.returncode == 0, ended.stderr
    found = [json.loads(line) for line in ended.stdout.splitlines()]
    assert {(each["rank"], each["local_rank"], each["total"]) for each in found} == {(0, 0, 3.0), (1, 0, 3.0)}
    assert {each["address"] for each in found} == {socket.gethostname().partition(".")[0]}

    run = tmp_path / "run"
    ended = two_nodes.run("salloc", *spread, *training("slurm", run, ITERATIONS), cwd=ROOT, timeout=300)
    assert ended.returncode == 0, ended.stderr
    assert_same_weights(run, by_srun[0])


def test_training_preempted(slurm, by_srun, tmp_path):
    """The job of tools/sbatch.py, requeued in the middle, carries on and ends in the weights of one never stopped."""
    run, script = tmp_path / "run", tmp_path / "job.sh"
    tool = [sys.executable, ROOT / "tools" / "sbatch.py", SPEC, "--gpus-per-node", "2", "--cpus-per-gpu", "1"]
    waiting = ["--set", 'imports=["waiting_clips"]', "--set", "data=WaitingClips"]
    options = ["--work-dir", run, "--job-name", "preempted", "--out", script, *settings(ITERATIONS), *waiting]
    written = subprocess.run([*tool, *options], cwd=ROOT, capture_output=True, text=True, check=False)
    assert written.returncode == 0, written.stderr
    job = slurm.submit(script, f"--output={tmp_path}/said", cwd=tmp_path)
    metrics = run / "base" / "metrics.jsonl"
    wait_for(metrics)
    assert slurm.run("scontrol", "requeue", job).returncode == 0
    assert metrics.read_text().count("\n") < ITERATIONS, "it was over before it was requeued"
    ended = slurm.await_state(job, *OVER)
    said = Path(tmp_path, "said").read_text()
    assert (ended["JobState"], ended["Restarts"]) == ("COMPLETED", "1"), said
    assert "base: carrying on at iteration" in said
    assert_same_weights(run, by_srun[0])
