"""BDD100K as it lies on disk."""

import json

import pytest

from datasets.sources.bdd100k import list_bdd100k
from registry import InputError


@pytest.fixture
def drives(tmp_path):
    """Three videos in two splits."""
    for name in ("train/aaaa-1.mov", "train/bbbb-2.mov", "val/cccc-3.mov"):
        path = tmp_path / "videos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return tmp_path


def _facts(source):
    return {video.name: dict(video.attributes) for video in source.videos}


def test_splits_are_folders(drives):
    """Without lists and labels every video is there, with its split."""
    source = list_bdd100k(drives)
    assert source.classes is None
    assert _facts(source) == {
        "videos/train/aaaa-1.mov": {"split": "train"},
        "videos/train/bbbb-2.mov": {"split": "train"},
        "videos/val/cccc-3.mov": {"split": "val"},
    }


@pytest.mark.parametrize("line", ["{}", "{}.mov", "train/{}.mov", "{}.jpg"])
def test_official_lists(drives, line):
    """Videos that a list names and that are not there are missing; those that it does not name are left out."""
    (drives / "splits").mkdir()
    (drives / "splits" / "train.txt").write_text("".join(line.format(name) + "\n" for name in ("aaaa-1", "dddd-4")))
    source = list_bdd100k(drives)
    assert [video.name for video in source.videos] == ["videos/train/aaaa-1.mov", "videos/val/cccc-3.mov"]
    reasons = {each.name: each.reason for each in source.left_out}
    assert reasons == {
        "videos/train/bbbb-2.mov": "is not in the official list of train",
        "train/dddd-4": "is missing: it is in the official list of train, and there is no such file",
    }


def test_drive_records_are_a_list(drives):
    """The drives' records list the videos as well."""
    (drives / "info" / "100k" / "val").mkdir(parents=True)
    for name in ("cccc-3", "eeee-5"):
        (drives / "info" / "100k" / "val" / f"{name}.json").write_text("{}")
    [missing] = list_bdd100k(drives).left_out
    assert (missing.name, missing.split) == ("val/eeee-5", "val")


def test_labels(drives):
    """Weather, scene and time of day come from files of images and from files of one image each."""
    night = {"weather": "rainy", "scene": "city street", "timeofday": "night", "other": 3}
    images = [{"name": "aaaa-1.jpg", "attributes": night, "labels": []}, {"name": "unknown.jpg"}]
    (drives / "labels" / "100k").mkdir(parents=True)
    (drives / "labels" / "bdd100k_labels_images_train.json").write_text(json.dumps(images))
    (drives / "labels" / "100k" / "c.json").write_text(
        json.dumps({"name": "cccc-3", "attributes": {"weather": "clear"}, "frames": []})
    )
    facts = _facts(list_bdd100k(drives))
    assert facts["videos/train/aaaa-1.mov"] == {
        "split": "train",
        "weather": "rainy",
        "scene": "city street",
        "timeofday": "night",
    }
    assert facts["videos/train/bbbb-2.mov"] == {"split": "train"}
    assert facts["videos/val/cccc-3.mov"] == {"split": "val", "weather": "clear"}


def test_what_is_no_bdd100k(tmp_path):
    """A folder without the splits' folders is refused."""
    with pytest.raises(InputError, match=r"allowed: videos/\{train,val,test\}"):
        list_bdd100k(tmp_path)


def test_hidden_files(drives):
    """What other systems leave beside videos, lists and labels is none of them."""
    for name in ("videos/train/._aaaa-1.mov", "info/100k/train/._aaaa-1.json", "labels/.checkpoints/a.json"):
        (drives / name).parent.mkdir(parents=True, exist_ok=True)
        (drives / name).write_bytes(b"\x00\x05\x16\x07")
    source = list_bdd100k(drives)
    assert source.left_out == ()
    assert len(source.videos) == 3


def test_two_files_of_one_drive(drives):
    """A drive that is there as .mov and as .mp4 is stored once."""
    (drives / "videos" / "train" / "aaaa-1.mp4").write_bytes(b"x")
    source = list_bdd100k(drives)
    assert source.videos[0].name == "videos/train/aaaa-1.mov"
    assert len(source.videos) == 3
    [other] = source.left_out
    assert (other.name, other.reason) == ("videos/train/aaaa-1.mp4", "is the same drive as videos/train/aaaa-1.mov")
