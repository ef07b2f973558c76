"""``metrics.jsonl`` where a run is taken up: what is cut off, and what is said of lines that are none."""

import json

import pytest

from framework.metrics_file import cut_metrics, read_metrics


def lines_to(last: int) -> list[str]:
    return [json.dumps({"iteration": iteration, "loss_D": iteration / 2}) + "\n" for iteration in range(1, last + 1)]


def written(folder, *parts: str | bytes):
    path = folder / "metrics.jsonl"
    path.write_bytes(b"".join(part if isinstance(part, bytes) else part.encode() for part in parts))
    return path


def test_later_lines_are_cut_off(tmp_path, capsys):
    """Those up to the iteration stay, byte for byte, nothing is said; no file is no line."""
    cut_metrics(tmp_path / "none", 3)
    path = written(tmp_path, *lines_to(5))
    cut_metrics(path, 3)
    assert path.read_text() == "".join(lines_to(3))
    assert capsys.readouterr().err == ""
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("torn", ['{"iteration": 5, "los', "\0\0\0", b'{"iteration": 5, "name": "\xc3'])
@pytest.mark.parametrize("last", [2, 4])
def test_a_line_cut_short_is_told(tmp_path, capsys, torn, last):
    """As a kill, a full disk or a power cut leaves the last one: it goes, and no copy is kept."""
    path = written(tmp_path, *lines_to(4), torn)
    assert read_metrics(path) == (
        [json.loads(line) for line in lines_to(4)],
        "metrics.jsonl, line 5: cut short, left out",
    )
    cut_metrics(path, last)
    assert path.read_text() == "".join(lines_to(last))
    assert capsys.readouterr().err == f"note: {path}, line 5: cut short, left out\n"
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_a_last_line_without_its_end_is_whole(tmp_path, capsys):
    """What is added after it stands on a line of its own."""
    path = written(tmp_path, *lines_to(3)[:2], lines_to(3)[2].rstrip())
    cut_metrics(path, 3)
    assert path.read_text() == "".join(lines_to(3))
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "damaged",
    [
        b"nonsense\n",
        b"\xff\xfe\n",
        b"\n",
        b"3\n",
        b"[1]\n",
        b"null\n",
        b'{"loss_D": 1}\n',
        b'{"iteration": "x"}\n',
        b'{"iteration": Infinity}\n',
        b'{"iteration": 2, "loss\x0b_D": 1}\n',
        b'{"iteration": 2\r, "lo\n',
    ],
)
def test_a_damaged_line_is_named(tmp_path, capsys, damaged):
    """File and line are said, other lines stay, and the file as it was is kept; the page refuses it in one line."""
    before, last = lines_to(3)[:2], lines_to(3)[2]
    path = written(tmp_path, *before, damaged, last)
    content = path.read_bytes()
    with pytest.raises(ValueError, match=rf"^{path}, line 3: is damaged; allowed: .*, or training again, which"):
        read_metrics(path)
    cut_metrics(path, 3)
    assert path.read_text() == "".join([*before, last])
    aside = tmp_path / "metrics.jsonl.damaged"
    assert capsys.readouterr().err == (
        f"note: {path}, line 3: damaged, left out; the file as it was is now {aside.name}\n"
    )
    assert aside.read_bytes() == content


def test_many_damaged_lines_are_one_note(tmp_path, capsys):
    """The first is named, the others are counted; a line cut short is told besides."""
    path = written(tmp_path, "x\n", *lines_to(2), "y\n", "z\n", "{")
    cut_metrics(path, 1)
    assert path.read_text() == "".join(lines_to(1))
    assert capsys.readouterr().err.splitlines() == [
        f"note: {path}, line 1 (and 2 more): damaged, left out; the file as it was is now metrics.jsonl.damaged",
        f"note: {path}, line 6: cut short, left out",
    ]


def test_what_was_kept_of_an_earlier_damage_stays(tmp_path, capsys):
    """Each damaged file is kept under the first free name, which is said."""
    contents = [f"{word}\n{lines_to(1)[0]}" for word in ("first", "second", "third")]
    for content in contents:
        cut_metrics(written(tmp_path, content), 1)
    names = ["metrics.jsonl.damaged", "metrics.jsonl.damaged-2", "metrics.jsonl.damaged-3"]
    assert [(tmp_path / name).read_text() for name in names] == contents
    assert [line.split(" is now ")[1] for line in capsys.readouterr().err.splitlines()] == names
