"""Progress on a terminal and in a log file."""

import io
import sys

import pytest

from registry import progress
from registry.cli import speak_as
from registry.progress import Progress


class _Terminal(io.StringIO):
    def isatty(self):
        return True


def test_log_file_gets_plain_lines(monkeypatch, capsys):
    """Where stderr is no terminal, each report is a line of its own, without control characters."""
    monkeypatch.setattr(progress, "LOG_SECONDS", 0.0)
    for _ in Progress(iterable=range(3), unit="clip", desc="drawing", miniters=1):
        pass
    lines = capsys.readouterr().err.splitlines()
    assert any("drawing" in line and "3/3" in line for line in lines)
    assert not any("\r" in line or "\x1b" in line for line in lines)


def test_quick_work_leaves_no_line(capsys):
    """Work that is over before the first report writes nothing to a log file."""
    for _ in Progress(iterable=range(3)):
        pass
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("note", ["left out: a.mp4"])
def test_terminal_gets_a_bar(monkeypatch, note):
    """On a terminal there is a bar, and notes stand on lines of their own."""
    terminal = _Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with Progress(total=2, unit="clip") as bar:
        bar.note(note)
        bar.update(2)
    assert "\r" in terminal.getvalue()
    assert "2/2" in terminal.getvalue()
    assert f"{note}\n" in terminal.getvalue()


def test_others_show_none(monkeypatch):
    """Of several processes the first alone shows progress and notes; the others count all the same."""
    terminal = _Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    speak_as(1, 2)
    try:
        with Progress(total=2) as bar:
            bar.note("a note")
            bar.set_postfix({"loss": 1})
            bar.update(2)
        assert list(Progress(iterable=range(3))) == [0, 1, 2]
    finally:
        speak_as(0, 1)
    assert terminal.getvalue() == ""
