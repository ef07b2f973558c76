"""A real Slurm on this machine, with everything of its own: key, sockets, ports, state.

It takes nothing from the machine but the installed programs, so that several can run at once, and as any user.
"""

from __future__ import annotations

import getpass
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "srun", "sbatch", "scontrol", "scancel", "sinfo")
GPUS = 2
"""Which are empty files: jobs can ask for them, and that is all."""
PATIENCE = 240.0
"""Seconds that anything may take: far more than it does, and so no assertion about time; and more than srun gives a
task whose fellow has ended, so that it is heard what was the matter."""

_CONF = """\
ClusterName=test
# Ports follow from jobs' numbers: jobs of two such Slurms on one machine would meet each other.
FirstJobId={first_job}
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
SlurmctldPort={ctld_port}
AuthType=auth/munge
# Credentials live for seconds here: a requeued job waits that long, two minutes by default.
AuthInfo=socket={folder}/munge.socket,cred_expire=8
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
GresTypes=gpu
ReturnToService=2
SlurmdParameters=config_overrides
KillWait=60
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0,sched_interval=2,bf_interval=1
{nodes}PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
_NODE = """\
NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=8 Gres=gpu:{gpus} State=UNKNOWN
"""


class CannotStart(Exception):  # noqa: N818  # no error: tests skip
    """Why there is no Slurm here."""


class Slurm:
    """A running Slurm: commands find it by :attr:`environ`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.conf = folder / "slurm.conf"
        self.environ = {**os.environ, "SLURM_CONF": str(self.conf)}

    def run(self, *command: str | os.PathLike[str], **options) -> subprocess.CompletedProcess[str]:
        """Run a command that talks to this Slurm."""
        options = {"env": self.environ, "capture_output": True, "text": True, "timeout": PATIENCE, **options}
        return subprocess.run(list(map(str, command)), check=False, **options)

    def submit(self, script: str | os.PathLike[str], *options: str, cwd: Path) -> str:
        """Queue a batch script; its job's number."""
        done = self.run("sbatch", "--parsable", *options, script, cwd=cwd)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def job(self, number: str) -> dict[str, str]:
        """What Slurm knows of a job: ``JobState``, ``Restarts``, ``ExitCode`` and so on."""
        done = self.run("scontrol", "--oneliner", "show", "job", number)
        assert done.returncode == 0, done.stderr
        return dict(field.partition("=")[::2] for field in done.stdout.split() if "=" in field)

    def await_state(self, number: str, *states: str) -> dict[str, str]:
        """Wait until a job is in one of ``states``."""
        deadline = time.monotonic() + PATIENCE
        while (job := self.job(number))["JobState"] not in states:
            assert time.monotonic() < deadline, f"{job}\n{self.said(job)}\n{self.logs()}"
            time.sleep(0.1)
        return job

    def said(self, job: dict[str, str]) -> str:
        """What a batch job wrote so far, and its processes: who still waits for what."""
        files = {Path(job[name]) for name in ("StdOut", "StdErr") if name in job}
        output = "\n".join(f"{path}: {path.read_text()[-4000:]}" for path in files if path.is_file())
        processes = subprocess.run(["ps", "-eo", "pid,ppid,stat,etime,wchan:20,args"], capture_output=True, text=True)
        return f"{output}\n{processes.stdout}"

    def logs(self) -> str:
        """The end of what the daemons wrote."""
        return "\n".join(f"{path.name}: {path.read_text()[-2000:]}" for path in sorted(self.folder.glob("*.log")))


@contextmanager
def local_slurm(nodes: int = 1) -> Iterator[Slurm]:
    """A Slurm of one node or two, each this machine under another name, and of nothing in the end.

    Raises:
        CannotStart: its programs are not installed, or do not come up here.
    """
    # Daemons may be where an ordinary user's path does not lead.
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    programs = {name: shutil.which(name, path=path) for name in PROGRAMS}
    if missing := [name for name, found in programs.items() if found is None]:
        raise CannotStart(f"not installed: {', '.join(missing)} (Debian: slurm-wlm munge)")
    # The first one's name has to lead here, for processes of several nodes to meet; the second's is never asked.
    host = socket.gethostname().partition(".")[0]
    names = (host, f"{host}-second")[:nodes]
    if nodes > 1:
        try:
            socket.gethostbyname(host)
        except OSError as error:
            raise CannotStart(f"{host}, this machine's name, leads nowhere: {error}") from None
    # munged wants a socket that all can reach, which pytest's own folders are not; and its name has to be short.
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    folder.chmod(0o755)
    slurm = Slurm(folder)
    daemons: list[subprocess.Popen[bytes]] = []
    try:
        _write_files(slurm, names)
        _start(slurm, programs, names, daemons)
        yield slurm
    finally:
        if daemons:
            slurm.run("scancel", "--user", getpass.getuser())
        for daemon in reversed(daemons):
            daemon.terminate()
        _kill_all(slurm)
        for daemon in daemons:
            daemon.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _write_files(slurm: Slurm, names: Sequence[str]) -> None:
    folder, host = slurm.folder, names[0]
    for name in ("state", *(f"spool-{name}" for name in names)):
        (folder / name).mkdir()
    key = folder / "munge.key"
    key.touch(mode=0o600)
    key.write_bytes(os.urandom(128))
    ctld_port, *ports = _free_ports(1 + len(names))
    fields = {"user": getpass.getuser(), "ctld_port": ctld_port}
    fields["first_job"] = 1 + secrets.randbelow(1 << 20)
    nodes = [_NODE.format(node=name, host=host, port=port, gpus=GPUS) for name, port in zip(names, ports, strict=True)]
    slurm.conf.write_text(_CONF.format(host=host, folder=folder, **fields, nodes="".join(nodes)))
    (folder / "cgroup.conf").write_text("CgroupAutomount=no\n")
    for number in range(GPUS):
        (folder / f"gpu{number}").touch()
    (folder / "gres.conf").write_text(f"Name=gpu File={folder}/gpu[0-{GPUS - 1}]\n")


def _start(
    slurm: Slurm, programs: dict[str, str], names: Sequence[str], daemons: list[subprocess.Popen[bytes]]
) -> None:
    folder = slurm.folder
    files = {"key-file": "munge.key", "socket": "munge.socket", "pid-file": "munge.pid", "seed-file": "munge.seed"}
    munge = [f"--{name}={folder / file}" for name, file in {**files, "log-file": "munge.log"}.items()]
    commands = [
        ("munged", ["--foreground", "--force", *munge]),
        ("slurmctld", ["-D", "-f", str(slurm.conf)]),
        *(("slurmd", ["-D", "-N", name, "-f", str(slurm.conf)]) for name in names),
    ]
    # So that nothing is left where the tests themselves are killed.
    bound = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
    for name, options in commands:
        with (folder / f"{name}.err.log").open("ab") as log:
            command = [*bound, programs[name], *options]
            daemons.append(subprocess.Popen(command, env=slurm.environ, stdout=log, stderr=log))
        if name == "munged":
            _await(slurm, daemons, lambda: (folder / "munge.socket").exists())
    idle = ["idle"] * len(names)
    _await(slurm, daemons, lambda: slurm.run("sinfo", "-h", "-N", "-o", "%t").stdout.split() == idle)
    tried = slurm.run("srun", f"--nodes={len(names)}", "--ntasks=2", "--gpus-per-node=2", "true")
    if tried.returncode:
        raise CannotStart(f"srun -n 2 true: {tried.stderr}\n{slurm.logs()}")


def _await(slurm: Slurm, daemons: list[subprocess.Popen[bytes]], ready) -> None:
    deadline = time.monotonic() + PATIENCE / 3
    while not ready():
        if any(daemon.poll() is not None for daemon in daemons) or time.monotonic() > deadline:
            raise CannotStart(slurm.logs())
        time.sleep(0.1)


def _free_ports(count: int) -> list[int]:
    with_sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in with_sockets]
    for each in with_sockets:
        each.close()
    return ports


def _kill_all(slurm: Slurm) -> None:
    """Kill whatever belongs to this Slurm: steps and their tasks are nobody's children, but know its configuration."""
    mark = f"SLURM_CONF={slurm.conf}".encode()
    for _ in range(50):
        found = [int(path.parent.name) for path in Path("/proc").glob("[0-9]*/environ") if mark in _read(path)]
        if not found:
            return
        for pid in found:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(0.1)


def _read(path: Path) -> list[bytes]:
    try:
        return path.read_bytes().split(b"\0")
    except OSError:  # gone meanwhile, or another user's
        return []
