"""What commands share: error lines, exit codes, the traceback on demand."""

import argparse
import errno
import sys

import pytest

from registry import InputError, Problem
from registry.cli import REQUEUE, note, run, say, speak_as
from registry.errors import AgreedError, Stopped


@pytest.fixture(autouse=True)
def _alone_again():
    """What a test says of ranks ends with it."""
    yield
    speak_as(0, 1)


def _run(monkeypatch, error, *arguments):
    def main(_):
        raise error

    monkeypatch.setattr(sys, "argv", ["command", *arguments])
    return run(main, argparse.ArgumentParser())


def test_exit_code_of_the_command(monkeypatch):
    """The command's own exit code is returned, and it gets its arguments parsed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("code", type=int)
    monkeypatch.setattr(sys, "argv", ["command", "7"])
    assert run(lambda arguments: arguments.code, parser) == 7


def test_one_line_per_problem(monkeypatch, capsys):
    """An input error is one line per problem on stderr, nothing else, and exit code 2."""
    error = InputError([Problem("a.b", "is wrong", allowed="right"), Problem("", "two\nlines")])
    assert _run(monkeypatch, error) == 2
    assert capsys.readouterr() == ("", "error: a.b: is wrong; allowed: right\nerror: two lines\n")


def test_system_error_names_its_path(monkeypatch, capsys):
    """A missing permission or a full disk is one line with the path, as far as the system says it."""
    assert _run(monkeypatch, PermissionError(errno.EACCES, "Permission denied", "/root/x")) == 2
    assert _run(monkeypatch, OSError(errno.ENOSPC, "No space left on device")) == 2
    assert capsys.readouterr().err == "error: /root/x: Permission denied\nerror: No space left on device\n"


def test_interrupt(monkeypatch, capsys):
    """Ctrl-C is one line and exit code 130."""
    assert _run(monkeypatch, KeyboardInterrupt()) == 130
    assert capsys.readouterr().err == "interrupted\n"


@pytest.mark.parametrize("error", [InputError.of("a", "is wrong"), OSError("disk"), KeyboardInterrupt()])
def test_debug_lets_the_traceback_through(monkeypatch, error):
    """With --debug the error itself comes out."""
    with pytest.raises(type(error)):
        _run(monkeypatch, error, "--debug")


def test_fault_of_the_program_is_not_hidden(monkeypatch):
    """An error that is not the user's is never made a tidy line."""
    with pytest.raises(ZeroDivisionError):
        _run(monkeypatch, ZeroDivisionError())


def test_stop(monkeypatch, capsys):
    """A stop is its line and its exit code, no error; without a line nothing more is said."""
    assert _run(monkeypatch, Stopped(REQUEUE, "stopped by SIGTERM"), "--debug") == 75
    assert capsys.readouterr() == ("", "stopped by SIGTERM\n")
    assert _run(monkeypatch, Stopped(7, "")) == 7
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("error", "code", "first", "other"),
    [
        (AgreedError.of("a", "is x"), 2, "error: a: is x\n", ""),
        (InputError.of("a", "is x"), 2, "error: rank 0: a: is x\n", "error: rank 3: a: is x\n"),
        (InputError(Problem("a", "is x", who="rank 1")), 2, "error: rank 1: a: is x\n", "error: rank 1: a: is x\n"),
        (OSError("disk"), 2, "error: rank 0: disk\n", "error: rank 3: disk\n"),
        (Stopped(75, "stopped"), 75, "stopped\n", ""),
        (Stopped(75, "stopped", own=True), 75, "rank 0: stopped\n", "rank 3: stopped\n"),
        (KeyboardInterrupt(), 130, "interrupted\n", ""),
    ],
    ids=["agreed", "own", "named", "system", "stop", "own stop", "interrupt"],
)
def test_who_speaks(monkeypatch, capsys, error, code, first, other):
    """Rank 0 says what befell all, each rank what befell it alone; the exit code is the same."""
    for rank, said in ((0, first), (3, other)):
        speak_as(rank, 4)
        assert _run(monkeypatch, error) == code
        assert capsys.readouterr().err == said


def test_others_are_silent(capsys):
    """What the command has to say is said once, by rank 0."""
    speak_as(1, 2)
    say("a")
    note("b")
    assert capsys.readouterr() == ("", "")
    speak_as(0, 2)
    say("a")
    note("b", "c")
    assert capsys.readouterr() == ("a\n", "note: b\nnote: c\n")


def _parser():
    parser = argparse.ArgumentParser(prog="command")
    parser.add_argument("spec", metavar="SPEC")
    parser.add_argument("--launcher", choices=["none", "slurm"], default="none")
    parser.add_argument("--work-dir")
    parser.add_argument("--count", type=int)
    return parser


def _subcommands():
    parser = argparse.ArgumentParser(prog="command")
    info = parser.add_subparsers(required=True, dest="what").add_parser("info")
    info.add_argument("--picture")
    return parser


@pytest.mark.parametrize(
    ("parser", "arguments", "line"),
    [
        (
            _parser,
            ["x", "--wrok-dir=a"],
            "--wrok-dir: no such option; allowed: --count, --debug, --help, --launcher, --work-dir; "
            "did you mean '--work-dir'?",
        ),
        (
            _parser,
            ["x", "--launcher", "slrum"],
            "--launcher: 'slrum' is not a choice; allowed: none, slurm; did you mean 'slurm'?",
        ),
        (_parser, [], "SPEC: missing; see --help"),
        (_parser, ["x", "y"], "'y': one argument too many; see --help"),
        (_parser, ["x", "--count", "many"], "--count: invalid int value: 'many'; see --help"),
        (
            _parser,
            ["x", "--coun", "3"],
            "--coun: no such option; allowed: --count, --debug, --help, --launcher, --work-dir; "
            "did you mean '--count'?",
        ),
        (_parser, ["x", "--count"], "--count: expected one argument; see --help"),
        (_subcommands, ["inof"], "what: 'inof' is not a choice; allowed: info; did you mean 'info'?"),
        (
            _subcommands,
            ["info", "--pictrue", "x"],
            "--pictrue: no such option; allowed: --debug, --help, --picture; did you mean '--picture'?",
        ),
        (_subcommands, ["info", "--picture"], "--picture: expected one argument; see --help"),
    ],
)
def test_command_line(monkeypatch, capsys, parser, arguments, line):
    """A wrong command line is one line in the project's form and exit code 2, in subcommands as well."""
    monkeypatch.setattr(sys, "argv", ["command", *arguments])
    with pytest.raises(SystemExit) as caught:
        run(lambda _: 0, parser())
    assert caught.value.code == 2
    assert capsys.readouterr() == ("", f"error: {line}\n")


@pytest.mark.parametrize("name", ["RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK"])
def test_command_line_of_several(monkeypatch, capsys, name):
    """Of the processes that a launcher started, the first says what is wrong with their command line."""
    for rank, arguments, said in (
        ("0", ["--launcher=slurm"], "error: SPEC: missing; see --help\n"),
        ("1", ["--launcher=slurm"], ""),
        ("1", [], "error: SPEC: missing; see --help\n"),
    ):
        monkeypatch.setattr(sys, "argv", ["command", *arguments])
        monkeypatch.setenv(name, rank)
        with pytest.raises(SystemExit) as caught:
            run(lambda _: 0, _parser())
        assert caught.value.code == 2
        assert capsys.readouterr().err == said
