"""What files of a request are called, and which places are refused before anything is made."""

from itertools import product

import pytest

from framework.targets import refuse_file, refuse_targets, stem_of
from registry import InputError


def test_every_request_has_a_name_of_its_own():
    """Whatever of a request shapes its videos tells its files from all others'."""
    choices = {
        "length": (None, 8, 80),
        "ends": (None, (0, 1), (1, 0)),
        "label": (None, "cat", "dog"),
        "sigma": (1.0, 0.5, 0.0),
        "seed": (0, 1, 11),
    }
    stems = [stem_of(("run", "full"), **dict(zip(choices, each, strict=True))) for each in product(*choices.values())]
    assert len(set(stems)) == 3**5
    assert stems[0] == "run_full"


@pytest.mark.parametrize(
    ("label", "part"), [("playing guitar", "playing-guitar"), ("../up/there", "..-up-there"), ("café", "café")]
)
def test_a_class_makes_no_folders(label, part):
    """Classes are called as somebody's folders are; a file's name has neither slashes nor spaces."""
    assert stem_of(("run", "full"), length=None, ends=None, label=label, sigma=1.0, seed=0) == f"run_full_{part}"
    long = stem_of(("run", "full"), length=None, ends=None, label="x" * 300, sigma=1.0, seed=0)
    assert len(long) < 100


def test_places_for_a_file(tmp_path):
    """A file that is there or not yet, in a folder that is there; no folder, nothing below a file."""
    (tmp_path / "file").write_text("old")
    for good in ("file", "new"):
        refuse_file(tmp_path / good)
    refuse_file(tmp_path / "new/folder/file", makes_folder=True)
    for bad in (".", "file/below", "new/folder/file"):
        with pytest.raises(InputError, match=r"^--out: "):
            refuse_file(tmp_path / bad)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_earlier_outputs_may_be_replaced(tmp_path):
    """Files, and Zarr groups of generated videos; no other group or folder."""
    film, group = tmp_path / "a.mp4", tmp_path / "a.zarr"
    film.write_text("old")
    group.mkdir()
    with pytest.raises(InputError, match=f"^{group}: is in the way"):
        refuse_targets(tmp_path, [film, group])
    (group / "zarr.json").write_text('{"attributes": {"request": {}}}')
    refuse_targets(tmp_path, [film, group])
    refuse_targets(tmp_path / "none", [tmp_path / "none" / "a.mp4"])
