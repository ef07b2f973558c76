"""The memory of a machine, and of the control groups that a process is in, as Linux lays them out."""

import pytest

from framework.machine_memory import machine_memory

HAS = 64 * 10**9
V1 = "9:name=systemd:/\n5:cpu,cpuacct:/other\n4:memory:/slurm/job_1/step_0\n0::/\n"


@pytest.fixture(autouse=True)
def physical(monkeypatch):
    """A machine of 64 GB."""
    monkeypatch.setattr("os.sysconf", {"SC_PHYS_PAGES": HAS // 1000, "SC_PAGE_SIZE": 1000}.get)


@pytest.mark.parametrize(
    ("own", "files", "expected"),
    [
        ("0::/job/task\n", {"job/task/memory.max": "8000000000"}, 8 * 10**9),
        ("0::/job/task\n", {"job/task/memory.max": "max", "job/memory.max": "7000000000"}, 7 * 10**9),
        ("0::/job/task\n", {"job/task/memory.max": "6000000000", "job/memory.max": "7000000000"}, 6 * 10**9),
        ("0::/job/task\n", {"job/task/memory.max": "max"}, HAS),
        ("0::/job/task\n", {"job/task/memory.max": "99000000000"}, HAS),
        ("0::/job/task\n", {"job/other/memory.max": "1"}, HAS),  # somebody else's
        ("0::/\n", {"memory.max": "5000000000"}, 5 * 10**9),  # a container sees its own as the outermost
        ("0::/docker/4f\n", {"memory.max": "5000000000"}, 5 * 10**9),  # one that knows its place, but does not see it
        (V1, {"memory/slurm/job_1/memory.limit_in_bytes": "4000000000"}, 4 * 10**9),
        (V1, {"memory/slurm/job_1/step_0/memory.limit_in_bytes": "9223372036854771712"}, HAS),
        (V1, {"cpu/other/memory.limit_in_bytes": "1", "memory/other/memory.limit_in_bytes": "1"}, HAS),
        (V1, {}, HAS),
    ],
)
def test_the_least_of_all_limits_counts(tmp_path, own, files, expected):
    """Of the process's groups and those around them, of both versions, and of the machine."""
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text(own)
    for name, limit in files.items():
        path = tmp_path / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{limit}\n")
    assert machine_memory(tmp_path) == expected


def test_a_system_without_groups(tmp_path):
    """It has the memory of the machine."""
    assert machine_memory(tmp_path) == HAS
