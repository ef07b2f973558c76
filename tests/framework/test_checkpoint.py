"""Checkpoints: whole and verified, or absent."""

import json
import os
from pathlib import Path

import pytest
import torch
from tiny_runs import flip_byte, load_latest

from framework import checkpoint as module
from framework.checkpoint import Checkpoints, first_not_finite, write_whole
from registry import InputError


def state(iteration: int) -> dict:
    return {"iteration": iteration, "model": {"weight": torch.full((3,), float(iteration))}, "list": [1, 2.5, "text"]}


def save(folder, *iterations) -> None:
    for iteration in iterations:
        Checkpoints(folder).save(iteration, state(iteration))


def test_the_newest_comes_back(tmp_path):
    """What was saved last is loaded, and nothing is complained of."""
    save(tmp_path / "new" / "folder", 2, 10, 9_000)
    loaded, warnings = load_latest(tmp_path / "new" / "folder")
    assert warnings == []
    assert loaded["iteration"] == 9_000
    assert loaded["list"] == [1, 2.5, "text"]
    assert torch.equal(loaded["model"]["weight"], torch.full((3,), 9_000.0))


def test_no_checkpoint_is_no_error(tmp_path):
    """A folder that is empty, or is not there, holds none."""
    assert load_latest(tmp_path) == (None, [])
    assert load_latest(tmp_path / "none") == (None, [])


def test_the_last_two_are_kept(tmp_path):
    """Older ones are cleared with their manifests."""
    save(tmp_path, 1, 2, 3, 4)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {f"iter_0000000{k}.{ending}" for k in (3, 4) for ending in ("pt", "json")}


def test_as_many_as_asked_for_are_kept(tmp_path):
    """Three, with ``keep=3``; and when fewer are asked for later, fewer."""
    store = Checkpoints(tmp_path, keep=3)
    for iteration in range(1, 6):
        store.save(iteration, state(iteration))
    assert sorted(path.stem for path in tmp_path.glob("*.pt")) == [f"iter_0000000{k}" for k in (3, 4, 5)]
    Checkpoints(tmp_path, keep=1).save(6, state(6))
    assert [path.stem for path in tmp_path.glob("*.pt")] == ["iter_00000006"]


@pytest.mark.parametrize(("best", "kept"), [("min:loss_D", 2), ("max:loss_D", 4)])
def test_the_best_is_kept_besides(tmp_path, best, kept):
    """By numpy's argmin and argmax over what was passed, whatever process saved it; the newest is still loaded."""
    losses = {1: 0.5, 2: 0.1, 3: 0.4, 4: 0.9, 5: 0.3, 6: 0.2}
    for iteration, loss in losses.items():
        Checkpoints(tmp_path, keep=1, best=best).save(iteration, state(iteration), {"loss_D": loss})
    assert {path.stem for path in tmp_path.glob("*.pt")} == {f"iter_0000000{kept}", "iter_00000006"}
    said = json.loads((tmp_path / "best.json").read_text())
    assert said == {"iteration": kept, "metric": "loss_D", "value": losses[kept]}
    assert load_latest(tmp_path)[0]["iteration"] == 6


def test_the_best_of_another_metric_begins_anew(tmp_path):
    """What was best by one metric is no mark for another."""
    Checkpoints(tmp_path, keep=1, best="min:loss_D").save(1, state(1), {"loss_D": -9.0})
    Checkpoints(tmp_path, keep=1, best="min:loss_G").save(2, state(2), {"loss_G": 3.0})
    assert json.loads((tmp_path / "best.json").read_text())["iteration"] == 2


def test_a_metric_that_is_not_there_is_refused(tmp_path):
    """As soon as there are those of whole updates, with the nearest name; before that there is nothing to tell."""
    store = Checkpoints(tmp_path, best="min:loss_d")
    store.refuse_unknown({})
    with pytest.raises(InputError, match=r"training.keep_best: .*'loss_d'.*did you mean 'loss_D'"):
        store.refuse_unknown(dict.fromkeys(("loss_D", "loss_G", "grad_norm_D", "grad_norm_G", "spatial/real"), 1.0))


def test_an_update_that_was_left_out_lacks_metrics(tmp_path):
    """A line without the losses of a skipped update is no reason to end a run that looks for the best of them."""
    store = Checkpoints(tmp_path, best="min:loss_D")
    store.refuse_unknown({"loss_G": 1.0, "grad_norm_G": 1.0, "skipped": 1.0})
    store.save(1, state(1), {"loss_G": 1.0})
    assert not (tmp_path / "best.json").exists()


def test_a_new_checkpoint_outlives_damaged_newer_ones(tmp_path):
    """Taken up before damaged checkpoints and stopped before them again, the newest is the one just saved."""
    store = Checkpoints(tmp_path, keep=1, best="min:loss_D")
    store.save(100, state(100), {"loss_D": 0.1})
    store.save(200, state(200), {"loss_D": 0.5})
    flip_byte(tmp_path / "iter_00000200.pt")
    store.save(150, state(150), {"loss_D": 0.5})
    loaded, warnings = load_latest(tmp_path)
    assert (loaded["iteration"], warnings) == (150, [])
    assert sorted(path.name for path in tmp_path.glob("*.pt")) == ["iter_00000100.pt", "iter_00000150.pt"]


@pytest.mark.parametrize("place", [0, 100, -1])
def test_a_damaged_newest_is_named_and_left_aside(tmp_path, place):
    """Any flipped bit of the newest checkpoint makes it count for nothing; the one before is used."""
    save(tmp_path, 1, 2)
    flip_byte(tmp_path / "iter_00000002.pt", place)
    loaded, [warning] = load_latest(tmp_path)
    assert loaded["iteration"] == 1
    assert warning.startswith(f"{tmp_path}/iter_00000002.pt: damaged")


@pytest.mark.parametrize("content", ["", "{", "[]", "7", "{}", '{"sha256": 3}', "\x00\x00", '{"sha256": "0"}'])
def test_a_damaged_manifest_counts_as_damage(tmp_path, content):
    """Whatever a manifest holds, if it is not the digest the checkpoint before is used."""
    save(tmp_path, 1, 2)
    (tmp_path / "iter_00000002.json").write_text(content)
    loaded, warnings = load_latest(tmp_path)
    assert (loaded["iteration"], len(warnings)) == (1, 1)


def test_a_missing_file_counts_as_damage(tmp_path):
    """A manifest whose checkpoint is gone is named."""
    save(tmp_path, 1, 2)
    (tmp_path / "iter_00000002.pt").unlink()
    loaded, [warning] = load_latest(tmp_path)
    assert loaded["iteration"] == 1
    assert "iter_00000002.pt" in warning


def test_all_damaged_is_an_error(tmp_path):
    """Rather than begin anew in silence, both damaged files are named, with what to do."""
    save(tmp_path, 1, 2)
    for iteration in (1, 2):
        flip_byte(tmp_path / f"iter_0000000{iteration}.pt")
    with pytest.raises(InputError) as caught:
        load_latest(tmp_path)
    text = str(caught.value)
    assert text.startswith(f"{tmp_path}: every checkpoint is damaged")
    assert "iter_00000001.pt" in text
    assert "iter_00000002.pt" in text
    assert text.endswith("allowed: removing that folder, to train the stage anew")
    assert "\n" not in text


class Payload:
    """Unpickled, it would make a folder."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_a_pickled_object_is_refused_and_runs_no_code(tmp_path):
    """A checkpoint made by a stranger, its digest right, cannot do anything."""
    save(tmp_path, 1)
    Checkpoints(tmp_path).save(2, {"iteration": 2, "model": Payload(str(tmp_path / "ran"))})
    loaded, [warning] = load_latest(tmp_path)
    assert loaded["iteration"] == 1
    assert "iter_00000002.pt" in warning
    assert not (tmp_path / "ran").exists()


def test_a_failed_write_leaves_the_old_ones(tmp_path, monkeypatch):
    """When the disk fails halfway the checkpoints there are stay, and the new one is absent."""
    save(tmp_path, 1, 2)

    def fail(content, file):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(module.torch, "save", fail)
        with pytest.raises(OSError, match="No space left"):
            Checkpoints(tmp_path).save(3, state(3))
    assert not (tmp_path / "iter_00000003.pt.partial").exists()  # it would go on filling the disk
    loaded, warnings = load_latest(tmp_path)
    assert (loaded["iteration"], warnings) == (2, [])
    save(tmp_path, 3)
    assert load_latest(tmp_path)[0]["iteration"] == 3
    assert not list(tmp_path.glob("*.partial"))


def test_a_real_full_disk_is_an_os_error(tmp_path):
    """Torch's writer turns the disk's error into one of its own kind; users are to be told of the disk, in one line."""
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(OSError, match="iter_00000001"):
            Checkpoints(tmp_path).save(1, {"iteration": 1, "weight": torch.zeros(1_000_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert load_latest(tmp_path) == (None, [])


def test_small_files_are_written_whole_or_not_at_all(tmp_path, monkeypatch):
    """A failure before the end leaves what was there before."""
    path = tmp_path / "file.json"
    write_whole(path, "old")

    def fail(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        write_whole(path, "new")
    assert path.read_text() == "old"


def test_a_full_disk_is_not_kept_full(tmp_path):
    """A text that does not fit leaves the old file and nothing else."""
    resource = pytest.importorskip("resource")
    write_whole(tmp_path / "page.html", "old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(OSError, match=r"File too large: '.*/page\.html'"):
            write_whole(tmp_path / "page.html", "new" * 1000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]
    assert (tmp_path / "page.html").read_text() == "old"


def test_manifests_are_written_last(tmp_path, monkeypatch):
    """When the manifest appears the checkpoint it speaks of is there whole."""
    original = module.write_whole

    def look(path, text):
        file = path.with_suffix(".pt")
        assert module.file_digest(file) == json.loads(text)["sha256"]
        original(path, text)

    monkeypatch.setattr(module, "write_whole", look)
    save(tmp_path, 1)
    assert load_latest(tmp_path)[0]["iteration"] == 1


def test_renames_are_brought_to_the_disk(tmp_path, monkeypatch):
    """The folder is synced after each rename: what stands in it then is under its final name."""
    seen, original = [], os.fsync

    def look(descriptor):
        if Path(f"/proc/self/fd/{descriptor}").resolve() == tmp_path:
            seen.append(sorted(path.name for path in tmp_path.iterdir()))
        original(descriptor)

    monkeypatch.setattr(module.os, "fsync", look)
    save(tmp_path, 1)
    assert seen == [["iter_00000001.pt"], ["iter_00000001.json", "iter_00000001.pt"]]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_is_found_wherever_it_is(value):
    """In a tensor, a number, a list, a table; whole numbers, text and None are never it."""
    good = {"a": [1, 2.5, {"b": torch.ones(3)}], "count": torch.tensor(3), "text": "nan", "none": None}
    assert first_not_finite(good) is None
    assert first_not_finite({**good, "c": value}) == "c"
    assert first_not_finite({**good, "c": (0, torch.tensor([0.0, value]))}) == "c[1]"
    assert first_not_finite({"x": {"y": {0: torch.tensor(value)}}}) == "x.y.0"
