"""The benchmarks as commands: wrong input is one line, and each names a table that is in the docs."""

import re
from pathlib import Path

import in_process
import pytest

ROOT = Path(__file__).parents[2]
QUICK = str(ROOT / "experiments" / "quickstart.py")
BASELINE = str(ROOT / "experiments" / "dvd_gan_12.py")
COMMANDS = ("attention", "clip_store", "frozen_prefix", "memory", "prefix_bank", "step", "streaming")


@pytest.fixture
def command(monkeypatch, capsys, tmp_path):
    """A benchmark, called in this process in an empty folder: exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def call(name, *arguments):
        path = ROOT / "benchmarks" / f"{name}.py"
        return in_process.call(path, arguments, monkeypatch, capsys)

    return call


@pytest.mark.parametrize(
    ("name", "arguments", "line"),
    [
        ("attention", ["--turns", "0"], "--turns: 0 is not at least 1; see --help"),
        ("attention", ["--device", "tpu"], "--device: 'tpu' is not a choice; allowed: cpu, cuda"),
        ("attention", ["--dtype", "bfloat"], "--dtype: 'bfloat' is not a choice; allowed: float32, bfloat16, float16"),
        ("clip_store", ["memap"], "ROW: no row is called 'memap'; allowed: "),
        ("clip_store", ["--runs", "0"], "--runs: 0 is not at least 1; see --help"),
        ("clip_store", ["--clips", "-1"], "--clips: -1 is not at least 1; see --help"),
        ("clip_store", ["--windows", "some"], "--windows: invalid whole number value: 'some'; see --help"),
        ("frozen_prefix", ["missing.py"], "missing.py: there is no such spec"),
        ("frozen_prefix", ["--runs", "0"], "--runs: 0 is not at least 1; see --help"),
        ("frozen_prefix", ["--channels", "0"], "--channels: 0 is not at least 1; see --help"),
        ("memory", ["--quik"], "--quik: no such option; allowed: --debug, --help, --quick, --step; did you mean '--qu"),
        ("prefix_bank", [QUICK, "--turns", "0"], "--turns: 0 is not at least 1; see --help"),
        ("prefix_bank", [QUICK, "--batch", "x"], "--batch: invalid whole number value: 'x'; see --help"),
        ("prefix_bank", [QUICK, "--videos", "0"], "--videos: 0 is not at least 1; see --help"),
        ("prefix_bank", [QUICK, "--channels", "0"], "--channels: 0 is not at least 1; see --help"),
        ("prefix_bank", [QUICK, "--stage", "ful"], "--stage: no stage of quickstart with a source is called 'ful'; al"),
        ("prefix_bank", [BASELINE], "dvd_gan_12.py: no stage has a source"),
        ("step", ["plane"], "ROW: no row is called 'plane'; allowed: "),
        ("step", ["--runs", "0"], "--runs: 0 is not at least 1; see --help"),
        ("step", ["--threads", "0"], "--threads: 0 is not at least 1; see --help"),
        ("streaming", ["--runs", "0"], "--runs: 0 is not at least 1; see --help"),
        ("streaming", ["--channels", "0"], "--channels: 0 is not at least 1; see --help"),
        ("streaming", ["--long", "102"], "--long: 102 is no multiple of 4 of at least 100; see --help"),
        ("streaming", ["--long", "x"], "--long: invalid whole number value: 'x'; see --help"),
    ],
)
def test_wrong_input(command, tmp_path, name, arguments, line):
    """One line, exit code 2, and nothing printed or written."""
    code, out, err = command(name, *arguments)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert err.startswith("error: ")
    assert line in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", COMMANDS)
def test_its_table_is_in_the_docs(command, name):
    """``--help`` names the page and the heading that what it prints stands under, and there is a short form."""
    code, out, err = command(name, "--help")
    assert (code, err) == (0, "")
    said = " ".join(out.split())
    assert "--quick" in said
    named = re.search(r"Makes (.*?)\.(?= |$)(?!md)", said)[1]
    tables = re.findall(r"(docs/\w+\.md), (.*?)(?=,? and by the row profile|$)", named)
    assert tables
    for page, heading in tables:
        assert f"## {heading}" in (ROOT / page).read_text().splitlines(), heading


def test_all_of_them_are_made_again():
    """``make bench`` calls every benchmark that needs no GPU, with options that it has, and hands on ``QUICK``."""
    recipe = (ROOT / "Makefile").read_text().partition("\nbench: $(READY)\n")[2].partition("\n\n")[0]
    calls = [line for line in recipe.splitlines() if "benchmarks/" in line]
    named = {re.search(r"benchmarks/(\w+)\.py", line)[1] for line in calls}
    assert named == set(COMMANDS) - {"attention"}
    assert all(line.endswith("$(QUICK)") for line in calls)


def test_one_turn_of_a_bank(command):
    """A ratio of one pair has quartiles, all of them the same; the row is of the stage with a source."""
    code, out, _ = command("prefix_bank", QUICK, "--quick")
    assert code == 0
    *_, rule, row = out.splitlines()
    assert set(rule) == set("|- ")
    found = re.match(r"\| full \| ([\d.]+)x \(([\d.]+) to ([\d.]+)\) \|", row)
    assert found
    assert len(set(found.groups())) == 1
