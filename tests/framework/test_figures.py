"""Figures on the disk, and the tables that they stand in."""

import json

import attrs
import pytest

from framework import figures
from framework.figures import Record, add_figures, as_text, read_figures, tables
from registry import InputError

FVD = Record(
    metric="fvd",
    value=12.5,
    interval=(12.0, 13.0),
    protocol={"frames": 16, "features": {"network": "I3D", "random": False}, "layer": "logits", "sigma": 1.0},
)
PSD = Record(metric="psd", value=1.0, detail={"frame": 1}, protocol={**FVD.protocol, "features": None, "layer": None})


def changed(record, **protocol):
    return attrs.evolve(record, protocol={**record.protocol, **protocol})


def test_round_trip(tmp_path):
    """What is written is read again; a class is called so on the disk."""
    path = tmp_path / "evaluation" / "figures.jsonl"
    records = [FVD, PSD, attrs.evolve(FVD, label="circle", interval=None)]
    add_figures(path, records)
    assert read_figures(path) == (records, None)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["class"] for line in lines] == [None, None, "circle"]
    assert lines[0]["interval"] == [12.0, 13.0]
    assert read_figures(tmp_path / "none") == ([], None)


def test_the_same_measurement_replaces(tmp_path):
    """Measured again in the same way a figure is replaced; with another seed, frame or class it stands beside."""
    path = tmp_path / "figures.jsonl"
    add_figures(path, [FVD, PSD])
    add_figures(path, [attrs.evolve(FVD, value=1.5), changed(FVD, sigma=0.5), attrs.evolve(PSD, detail={"frame": 2})])
    found, _ = read_figures(path)
    assert [record.value for record in found] == [1.5, 1.0, 12.5, 1.0]


def test_damage_is_named(tmp_path):
    """A line that is no figure is an error with its number; a last one cut short is noted and left out."""
    path = tmp_path / "figures.jsonl"
    add_figures(path, [FVD, PSD])
    whole = path.read_text()
    path.write_text(whole[:-20])
    found, note = read_figures(path)
    assert (found, note) == ([FVD], f"{path}, line 2: cut short, left out")
    path.write_text("{]\n" + whole)
    with pytest.raises(InputError, match=r"figures.jsonl, line 1: is damaged"):
        read_figures(path)
    path.write_text('{"metric": "fvd"}\n')
    with pytest.raises(InputError, match=r"figures.jsonl, line 1.value: "):
        read_figures(path)


@pytest.mark.parametrize("content", [b"\xff\xfe{}\n", b'{"metric": "caf\xe9"}\n'])
def test_what_is_no_text_is_named(tmp_path, content):
    """In one line, with the file."""
    path = tmp_path / "figures.jsonl"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"^\S+figures.jsonl: is no text \(byte \d+ is not UTF-8\)") as caught:
        read_figures(path)
    assert "\n" not in str(caught.value)


def test_a_number_that_could_not_be_written_again_is_damage(tmp_path):
    """Python's reader takes NaN, which is no JSON: found when new figures were to be written, it would lose them."""
    path = tmp_path / "figures.jsonl"
    add_figures(path, [FVD])
    path.write_text(path.read_text().replace("12.5", "NaN"))
    with pytest.raises(InputError, match=r"figures.jsonl, line 1: is damaged \(NaN is no JSON\)"):
        read_figures(path)


def test_tables_of_many_figures(monkeypatch):
    """Figures of hundreds of classes are compared by the protocols that there are, not each with each."""
    asked = []
    agree = figures._agree
    monkeypatch.setattr(figures, "_agree", lambda one, other: asked.append(1) or agree(one, other))
    records = [attrs.evolve(each, label=str(k)) for k in range(100) for each in (FVD, PSD, changed(FVD, sigma=0.5))]
    assert [len(table.records) for table in tables(records)] == [200, 100]
    assert len(asked) < 5 * len(records)


def test_tables_hold_one_protocol():
    """Figures without features stand beside those with; another sigma or network is a table of its own that says so."""
    other = changed(FVD, features={"network": "RandomFeatures", "random": True})
    found = tables([FVD, PSD, changed(PSD, sigma=0.5), other])
    assert [[record.metric for record in table.records] for table in found] == [["fvd", "psd"], ["psd"], ["fvd"]]
    assert found[0].differs == ()
    assert any("sigma" in clause for clause in found[1].differs)
    assert any("features" in clause for clause in found[2].differs)
    text = as_text([FVD, PSD, other])
    assert text[1].split() == ["fvd", "12.5", "12", "to", "13", "all"]
    assert text[2].startswith("psd (frame 1), dB")
    assert text[4].startswith("another protocol (features")
    assert text[6].endswith("all, random features")
