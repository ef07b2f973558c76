"""What commands share: error lines, exit codes, the traceback on demand."""

import argparse
import errno
import sys

import pytest

from registry import InputError, Problem
from registry.cli import run


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
