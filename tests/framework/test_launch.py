"""Where a process stands, read from what launchers set; and how the group of them begins and ends."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from framework.launch import LAUNCHERS, launched, place, step_command
from framework.process_group import Place
from registry import InputError
from registry.errors import AgreedError

ROOT = Path(__file__).parents[2]

TORCHRUN = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "MASTER_ADDR": "node3", "MASTER_PORT": "29500"}
# As srun of Slurm 22.05 sets them, less those that nobody reads.
SLURM = {
    "SLURM_JOB_ID": "4711",
    "SLURM_STEP_ID": "2",
    "SLURM_PROCID": "5",
    "SLURM_LOCALID": "1",
    "SLURM_NTASKS": "16",
    "SLURM_STEP_NUM_TASKS": "8",
    "SLURM_JOB_NUM_NODES": "4",
    "SLURM_STEP_NUM_NODES": "2",
    "SLURM_JOB_NODELIST": "node1,node7,node8,node9",
    "SLURM_STEP_NODELIST": "node7,node8",
}
# As Debian's mpirun (Open MPI 4.1.4) and mpiexec.hydra (MPICH 4.0.2) set them.
OPEN_MPI = {
    "OMPI_COMM_WORLD_RANK": "5",
    "OMPI_COMM_WORLD_SIZE": "8",
    "OMPI_COMM_WORLD_LOCAL_RANK": "5",
    "OMPI_COMM_WORLD_LOCAL_SIZE": "8",
    "PMIX_NAMESPACE": "1109065729",
}
MPICH = {"PMI_RANK": "5", "PMI_SIZE": "8", "MPI_LOCALRANKID": "5", "MPI_LOCALNRANKS": "8", "MASTER_PORT": "20001"}


def refusal(launcher, environ):
    """The one line that ``place`` says."""
    with pytest.raises(InputError) as refused:
        place(launcher, environ)
    [problem] = refused.value.problems
    return str(problem)


def test_none():
    """No process is looked for."""
    assert place("none", {}) is None


def test_torchrun():
    """Everything is said."""
    assert place("pytorch", TORCHRUN) == Place(5, 8, 1, "node3", 29500)


def test_slurm_step():
    """The numbers and hosts are those of the step, not of the whole job."""
    found = place("slurm", SLURM)
    assert (found.rank, found.world, found.local_rank, found.address) == (5, 8, 1, "node7")


def test_slurm_without_step():
    """A batch script's own process has the job's variables only."""
    found = place("slurm", {name: value for name, value in SLURM.items() if "STEP" not in name})
    assert (found.world, found.address) == (16, "node1")


def test_slurm_on_one_node():
    """Tasks on one machine meet on its loopback interface, whatever its name resolves to."""
    assert place("slurm", {**SLURM, "SLURM_STEP_NUM_NODES": "1"}).address == "127.0.0.1"


@pytest.fixture
def scontrol(tmp_path, monkeypatch):
    """Makes a command called as Slurm's that takes lists apart, of which the first argument is the text of."""

    def make(text):
        path = tmp_path / "scontrol"
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)

    return make


def test_slurm_list_of_hosts(scontrol):
    """Slurm's own command is asked for the hosts."""
    scontrol('[ "$*" = "show hostnames gpu[07-09],big1" ] && printf "gpu07\\ngpu08\\ngpu09\\nbig1\\n"')
    assert place("slurm", {**SLURM, "SLURM_STEP_NODELIST": "gpu[07-09],big1"}).address == "gpu07"


def test_slurm_list_of_hosts_not_understood(scontrol):
    """What it says against a list is said on."""
    scontrol("echo invalid host list >&2; exit 1")
    line = refusal("slurm", {**SLURM, "SLURM_STEP_NODELIST": "gpu[07"})
    assert line.startswith(
        "MASTER_ADDR: must be given, since scontrol does not take the list of hosts gpu[07 apart: inv"
    )


def test_slurm_list_of_hosts_without_scontrol(tmp_path, monkeypatch):
    """In a container without Slurm's commands the first host has to be given, and then is enough."""
    monkeypatch.setenv("PATH", str(tmp_path))
    environ = {**SLURM, "SLURM_STEP_NODELIST": "gpu[07-09]"}
    assert refusal("slurm", environ).startswith("MASTER_ADDR: must be given, since no scontrol is here")
    assert place("slurm", {**environ, "MASTER_ADDR": "gpu07"}).address == "gpu07"


@given(st.integers(1, 10**7), st.integers(0, 40))
def test_slurm_ports(job, step):
    """All tasks of a step have one port, which no user needs leave for and Linux gives to nobody else."""
    ports = {
        place("slurm", {**SLURM, "SLURM_JOB_ID": str(job), "SLURM_STEP_ID": str(step), "SLURM_PROCID": rank}).port
        for rank in "0123"
    }
    assert len(ports) == 1
    assert 1024 <= ports.pop() < 32768


@given(st.integers(1, 10**7))
def test_slurm_ports_of_neighbours(job):
    """A thousand jobs after one another, with sixteen steps each, have ports of their own."""
    ports = [
        place("slurm", {**SLURM, "SLURM_JOB_ID": str(job + later), "SLURM_STEP_ID": str(step)}).port
        for later in (0, 1, 2, 512, 999)
        for step in range(16)
    ]
    assert len(set(ports)) == len(ports)


def test_open_mpi():
    """Processes on one machine meet on its loopback interface."""
    found = place("mpi", OPEN_MPI)
    assert (found.rank, found.world, found.local_rank, found.address) == (5, 8, 5, "127.0.0.1")
    assert 1024 <= found.port < 32768
    assert place("mpi", {**OPEN_MPI, "OMPI_COMM_WORLD_RANK": "0"}).port == found.port
    assert place("mpi", {**OPEN_MPI, "PMIX_NAMESPACE": "1109065730"}).port != found.port


def test_mpich():
    """Its variables are others, and it does not number its jobs."""
    assert place("mpi", MPICH) == Place(5, 8, 5, "127.0.0.1", 20001)
    line = refusal("mpi", {name: value for name, value in MPICH.items() if name != "MASTER_PORT"})
    assert line.startswith(
        "MASTER_PORT: must be given, since this mpirun does not number its jobs; allowed: a free port"
    )


def test_mpi_on_several_machines():
    """Open MPI does not say where rank 0 runs."""
    environ = {**OPEN_MPI, "OMPI_COMM_WORLD_LOCAL_SIZE": "4"}
    line = refusal("mpi", environ)
    assert line.startswith("MASTER_ADDR: must be given, since 8 processes run on several machines")
    assert "mpirun -x MASTER_ADDR=HOST" in line
    assert place("mpi", {**environ, "MASTER_ADDR": "node1"}).address == "node1"


@pytest.mark.parametrize(("launcher", "environ"), [("slurm", SLURM), ("mpi", OPEN_MPI)])
def test_overrides(launcher, environ):
    """Address and port can be given."""
    found = place(launcher, {**environ, "MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "1234"})
    assert (found.address, found.port) == ("10.0.0.1", 1234)


NEEDED = [
    *(("pytorch", TORCHRUN, name) for name in TORCHRUN),
    *(("slurm", SLURM, name) for name in ("SLURM_JOB_ID", "SLURM_PROCID", "SLURM_LOCALID")),
    *(("mpi", OPEN_MPI, name) for name in OPEN_MPI if name.startswith("OMPI")),
    *(("mpi", MPICH, name) for name in MPICH if name != "MASTER_PORT"),
]
STARTS = {"pytorch": "torchrun", "slurm": "srun", "mpi": "mpirun"}


@pytest.mark.parametrize(("launcher", "environ", "name"), NEEDED)
def test_variable_missing(launcher, environ, name):
    """One line: what is missing, and how to start."""
    line = refusal(launcher, {other: value for other, value in environ.items() if other != name})
    assert line.startswith(f"--launcher: {launcher!r} finds no ")
    assert name in line
    assert f"; allowed: a start by {STARTS[launcher]}: {STARTS[launcher]} " in line
    assert line.endswith(f"tools/train.py SPEC --launcher {launcher}")


@pytest.mark.parametrize("value", ["x", "-1", "1.5", " 1", "٣"])
def test_no_number(value):
    """A variable that holds something else is named with it."""
    line = refusal("slurm", {**SLURM, "SLURM_PROCID": value})
    assert line == f"SLURM_PROCID: {value!r} is no number; allowed: a whole number, at least 0"


@pytest.mark.parametrize("value", ["0", "65536"])
def test_no_port(value):
    """Ports have bounds."""
    assert refusal("pytorch", {**TORCHRUN, "MASTER_PORT": value}).startswith(f"MASTER_PORT: {value} is no port")


def test_rank_beyond_the_last():
    """Variables that do not belong together, as where one launcher was started by another."""
    assert refusal("slurm", {**SLURM, "SLURM_PROCID": "8"}).startswith(
        "--launcher: 'slurm' says that this is rank 8 of 8"
    )


def test_step_command():
    """In an allocation but in none of its steps, srun is what starts a command, with as many CPUs as were asked for."""
    command = ["python", "tools/train.py", "a b"]
    assert step_command({}, command) is None
    assert step_command(SLURM, command) is None
    shells = {
        "salloc": {},
        "batch": {"SLURM_STEP_ID": str(2**32 - 5)},
        "interactive": {"SLURM_STEP_ID": str(2**32 - 6)},
    }
    for step in shells.values():
        started = step_command({"SLURM_JOB_ID": "1", **step}, command)
        assert (started[0], started[-3:]) == ("srun", command)
        assert not any("cpus" in option for option in started)
        assert "--cpus-per-task=6" in step_command({"SLURM_JOB_ID": "1", "SLURM_CPUS_PER_TASK": "6", **step}, command)


def test_nothing_is_launched():
    """Without a launcher nothing is made, and the environment stays."""
    before = dict(os.environ)
    with launched("none") as here:
        assert here is None
        assert dict(os.environ) == before
    assert LAUNCHERS[0] == "none"


def free_port():
    """A port that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def processes(program, world, port, missing=()):
    """Ranks that run ``program``: exit code, stdout and stderr of each, none of which waits for ever."""
    running = []
    for rank in sorted(set(range(world)) - set(missing)):
        told = attrs.asdict(Place(rank, world, rank, "127.0.0.1", port))
        names = {"rank": "RANK", "world": "WORLD_SIZE", "local_rank": "LOCAL_RANK", "address": "MASTER_ADDR"}
        environ = {names.get(name, "MASTER_PORT"): str(value) for name, value in told.items()}
        environ = {**os.environ, **environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        running.append(subprocess.Popen([sys.executable, "-c", program], env=environ, **pipes))
    try:
        said = [each.communicate(timeout=120) for each in running]
    finally:
        for each in running:
            each.kill()
    return [(each.returncode, *texts) for each, texts in zip(running, said, strict=True)]


# What registry.cli.run does with an error, in short.
PROGRAM = """
import sys, torch
from torch import distributed
from framework.launch import launched
from registry import InputError
try:
    with launched("pytorch", patience={patience}) as here:
        {body}
except InputError as error:
    print(error)
    sys.exit(2)
"""


def test_group_begins_and_ends():
    """Inside there is a group of gloo, which MMEngine finds; afterwards there is none."""
    body = """
        import os
        from mmengine.dist import get_dist_info
        assert get_dist_info() == (here.rank, 2)
        assert distributed.get_backend() == "gloo"
    assert not distributed.is_initialized()
    assert os.environ["RANK"] == str(here.rank)
    print("over")"""
    ended = processes(PROGRAM.format(patience=60, body=body.strip()), 2, free_port())
    assert [(code, out) for code, out, _ in ended] == [(0, "over\n")] * 2, ended


def test_processes_of_a_machine_are_counted():
    """Two of three are on one machine, whatever the launcher said; afterwards the environment is as it was."""
    before = """
import os, socket
socket.gethostname = lambda: "machine" + str(int(os.environ["RANK"]) // 2)
os.environ["LOCAL_WORLD_SIZE"] = "7"
"""
    body = """
        from components import ranks
        print(ranks.local_world())
        with ranks.alone():
            print(ranks.local_world())
    print(os.environ["LOCAL_WORLD_SIZE"])"""
    ended = processes(before + PROGRAM.format(patience=60, body=body.strip()), 3, free_port())
    assert [(code, out.split()) for code, out, _ in ended] == [(0, [each, "1", "7"]) for each in "221"], ended


def test_rank_that_never_comes():
    """The others give up in the time stated, and say where they waited and for how many."""
    port = free_port()
    ended = processes(PROGRAM.format(patience=3, body="pass"), 3, port, missing=[2])
    assert [code for code, *_ in ended] == [2, 2], ended
    for _, out, _ in ended:
        assert out.startswith(f"--launcher: the 3 processes have not met at 127.0.0.1:{port} within 3 s")
        assert len(out.splitlines()) == 1


def test_first_rank_never_comes():
    """The same where nobody listens."""
    port = free_port()
    [(code, out, _)] = processes(PROGRAM.format(patience=3, body="pass"), 2, port, missing=[0])
    assert code == 2
    assert out.startswith(f"--launcher: the 2 processes have not met at 127.0.0.1:{port} within 3 s")


def test_port_that_is_taken():
    """Rank 0 says so, and how to give another."""
    with socket.create_server(("", 0)) as server:
        port = server.getsockname()[1]
        [(code, out, _)] = processes(PROGRAM.format(patience=60, body="pass"), 2, port, missing=[1])
    assert code == 2
    assert out.startswith(f"MASTER_PORT: something else listens at 127.0.0.1:{port}, where rank 0 has to; allowed: ")


def test_error_of_one_rank():
    """A rank that fails amid a collective that the other never joins ends with its own error, and both end."""
    body = """
        if here.rank == 0:
            distributed.all_reduce(torch.ones(3), async_op=True)
            raise ValueError("mine")
        import time
        time.sleep(600)"""
    (code, _, err), (other, _, _) = processes(PROGRAM.format(patience=60, body=body.strip()), 2, free_port())
    assert code == 1
    assert err.strip().endswith("ValueError: mine")
    assert other != 0


@pytest.mark.parametrize(
    ("launcher", "environ"),
    [
        ("pytorch", {"RANK": "1", "WORLD_SIZE": "4"}),
        ("slurm", {"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "2"}),
        ("mpi", {"OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_SIZE": "2"}),
    ],
)
def test_a_launcher_that_was_not_told_of(monkeypatch, launcher, environ):
    """Several processes started without --launcher are refused, by all alike; a single one is no matter."""
    monkeypatch.setattr("framework.launch.speak_as", lambda rank, world: None)
    with pytest.raises(AgreedError, match=rf"--launcher: \w+ has started \d processes.*; allowed: {launcher}$"):
        place("none", environ)
    assert place("none", {name: "0" if "RANK" in name or "PROC" in name else "1" for name in environ}) is None
