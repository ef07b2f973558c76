"""Kinetics as it lies on disk."""

import pytest

from datasets.sources.kinetics import list_kinetics
from datasets.sources.layouts import SourceFolder
from registry import InputError

HEADER = "label,youtube_id,time_start,time_end,split\n"


def _touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def _annotate(folder, name, text):
    (folder / "annotations").mkdir(exist_ok=True)
    (folder / "annotations" / name).write_text(text)


def _facts(source):
    """Name to class and split."""
    return {
        video.name: (None if video.label is None else source.classes[video.label], video.attributes.get("split"))
        for video in source.videos
    }


def test_flat_with_annotations(tmp_path):
    """Ids that begin with - or hold _, quoted labels, odd containers and times all find their annotation."""
    _touch(
        tmp_path,
        "train/-_aB_1cD_ef_000084_000094.mp4",
        "train/__x_000001_000011.mkv",
        "val/abcdefghijk_000005_000015.webm",
    )
    _annotate(
        tmp_path,
        "train.csv",
        HEADER + '"massaging person\'s head",-_aB_1cD_ef,84,94,train\n"pulling, pushing",__x,1.0,11.0,train\n',
    )
    _annotate(tmp_path, "val.txt", HEADER + "testifying,abcdefghijk,5,15,validate\n")
    source = list_kinetics(tmp_path)
    assert source.classes == ("massaging person's head", "pulling, pushing", "testifying")
    assert _facts(source) == {
        "train/-_aB_1cD_ef_000084_000094.mp4": ("massaging person's head", "train"),
        "train/__x_000001_000011.mkv": ("pulling, pushing", "train"),
        "val/abcdefghijk_000005_000015.webm": ("testifying", "val"),
    }
    assert source.left_out == ()


def test_incomplete_annotations(tmp_path):
    """A clip without annotation is left out, one annotated without a class is not; what is not there is missing."""
    _touch(tmp_path, "aaa_000000_000010.mp4", "bbb_000000_000010.mp4", "ccc_000000_000010.mp4", "notes.mp4")
    _annotate(tmp_path, "train.csv", HEADER + "waving,aaa,0,10,train\nwaving,gone,7,17,train\n")
    _annotate(tmp_path, "test.csv", "youtube_id,time_start,time_end,split\nccc,0,10,test\n")
    source = list_kinetics(tmp_path)
    assert _facts(source) == {"aaa_000000_000010.mp4": ("waving", "train"), "ccc_000000_000010.mp4": (None, "test")}
    reasons = {each.name: each.reason for each in source.left_out}
    assert set(reasons) == {"bbb_000000_000010.mp4", "notes.mp4", "gone_000007_000017"}
    assert reasons["bbb_000000_000010.mp4"] == "has no annotation"
    assert "is missing" in reasons["gone_000007_000017"]


def test_class_folders(tmp_path):
    """Folders give the classes, with _ for spaces; an annotation that says otherwise leaves the clip out."""
    _touch(
        tmp_path,
        "train/air_drumming/aaa_000000_000010.mp4",
        "train/yoga/bbb_000000_000010.mp4",
        "validate/yoga/ccc_000000_000010.mp4",
        "train/yoga/unnumbered.mp4",
    )
    _annotate(tmp_path, "all.csv", HEADER + "air drumming,aaa,0,10,train\nzumba,bbb,0,10,train\n")
    source = list_kinetics(tmp_path)
    assert source.classes == ("air drumming", "yoga")
    assert _facts(source) == {
        "train/air_drumming/aaa_000000_000010.mp4": ("air drumming", "train"),
        "validate/yoga/ccc_000000_000010.mp4": ("yoga", "val"),
        "train/yoga/unnumbered.mp4": ("yoga", "train"),
    }
    [refused] = source.left_out
    assert refused.reason == "is said to be of several classes: yoga, zumba"


def test_no_annotations_at_all(tmp_path):
    """Flat clips without annotations have no classes; other text files are no annotations."""
    _touch(tmp_path, "aaa_000000_000010.mp4")
    (tmp_path / "readme.txt").write_text("label: see elsewhere\n")
    source = list_kinetics(tmp_path)
    assert source.classes is None
    assert _facts(source) == {"aaa_000000_000010.mp4": (None, None)}


def test_only_some_splits(tmp_path):
    """Only the videos, and the missing ones, of the splits asked for; a split that is not there is refused."""
    _touch(tmp_path, "train/aaa_000000_000010.mp4", "val/bbb_000000_000010.mp4")
    _annotate(tmp_path, "train.csv", HEADER + "x,aaa,0,10,train\nx,gone,0,10,train\n")
    _annotate(tmp_path, "val.csv", HEADER + "y,bbb,0,10,val\n")
    source = SourceFolder(tmp_path, "kinetics", ("val",)).list()
    assert [video.name for video in source.videos] == ["val/bbb_000000_000010.mp4"]
    assert source.left_out == ()
    assert source.classes == ("x", "y")  # labels do not depend on the splits taken
    with pytest.raises(InputError, match=r"no videos of split 'test'; allowed: train, val"):
        SourceFolder(tmp_path, "kinetics", ("test",)).list()


def test_bad_annotation_names_its_line(tmp_path):
    """A line without the times is an error that names file and line."""
    _touch(tmp_path, "aaa_000000_000010.mp4")
    _annotate(tmp_path, "train.csv", HEADER + "x,aaa,0,10,train\nx,bbb,soon,10,train\n")
    with pytest.raises(InputError, match=r"train\.csv:3: does not give"):
        list_kinetics(tmp_path)


@pytest.mark.parametrize("time", ["inf", "-inf", "nan", "1e400", ""])
def test_times_that_are_no_number(tmp_path, time):
    """A time that is infinite or none is an error that names file and line."""
    _touch(tmp_path, "aaa_000000_000010.mp4")
    _annotate(tmp_path, "train.csv", HEADER + f"x,aaa,0,10,train\nx,bbb,{time},10,train\n")
    with pytest.raises(InputError, match=r"train\.csv:3: does not give"):
        list_kinetics(tmp_path)


@pytest.mark.parametrize("lines", [1, 3, 50_000])
@pytest.mark.parametrize("end", ["", 'x,zzz,0,10,"train"\n'])
def test_quote_that_is_not_closed(tmp_path, lines, end):
    """A quote that swallows the lines after it, however many, is an error that names the line it is in."""
    _touch(tmp_path, "aaa_000000_000010.mp4")
    rest = "".join(f"y,id{number},0,10,train\n" for number in range(lines))
    _annotate(tmp_path, "train.csv", HEADER + 'x,aaa,0,10,train\n"x,bbb,0,10,train\n' + rest + end)
    with pytest.raises(InputError, match=r"train\.csv:3: (has a quote that is not closed|is not CSV)"):
        list_kinetics(tmp_path)


def test_hidden_folders(tmp_path):
    """What editors and other systems hide is no class, no video and no annotation."""
    _touch(
        tmp_path,
        "train/yoga/aaa_000000_000010.mp4",
        "train/yoga/._aaa_000000_000010.mp4",
        "train/.ipynb_checkpoints/bbb_000000_000010.mp4",
        ".Trash/yoga/ccc_000000_000010.mp4",
    )
    (tmp_path / "._train.csv").write_text(HEADER + "zumba,aaa,0,10,train\n")
    source = list_kinetics(tmp_path)
    assert (source.classes, source.left_out) == (("yoga",), ())
    assert list(_facts(source)) == ["train/yoga/aaa_000000_000010.mp4"]


def test_two_files_of_one_clip(tmp_path):
    """Of one clip as .mkv and .mp4, or spelled in two ways, one file is stored; clips of other times are others."""
    _touch(
        tmp_path,
        "train/aaa_000000_000010.mp4",
        "train/aaa_000000_000010.mkv",
        "train/aaa_0_10.mp4",
        "train/aaa_000010_000020.mp4",
    )
    _annotate(tmp_path, "train.csv", HEADER + "x,aaa,0,10,train\nx,aaa,10,20,train\n")
    source = list_kinetics(tmp_path)
    assert list(_facts(source)) == ["train/aaa_000000_000010.mkv", "train/aaa_000010_000020.mp4"]
    assert {each.name: each.reason for each in source.left_out} == {
        "train/aaa_000000_000010.mp4": "is the same clip as train/aaa_000000_000010.mkv",
        "train/aaa_0_10.mp4": "is the same clip as train/aaa_000000_000010.mkv",
    }


def test_one_clip_in_two_classes(tmp_path):
    """Files of one clip in folders of two classes are both left out, since none is known to be right."""
    _touch(tmp_path, "yoga/aaa_000000_000010.mp4", "zumba/aaa_000000_000010.mp4", "yoga/bbb_000000_000010.mp4")
    source = list_kinetics(tmp_path)
    assert list(_facts(source)) == ["yoga/bbb_000000_000010.mp4"]
    assert {each.reason for each in source.left_out} == {"is said to be of several classes: yoga, zumba"}


@pytest.mark.parametrize("place", ["replacement/replacement_for_corrupted_k400", "replacement_for_corrupted_k400"])
def test_replacements_of_corrupted_clips(tmp_path, place):
    """The folder of replacements is no class; its clips take the place of the files that they replace."""
    _touch(
        tmp_path,
        f"{place}/aaa_000000_000010.mp4",
        f"{place}/bbb_000000_000010.mp4",
        "another/aaa_000000_000010.mp4",
        "another/ccc_000000_000010.mp4",
    )
    _annotate(tmp_path, "train.csv", HEADER + "".join(f"another,{name},0,10,train\n" for name in ("aaa", "bbb", "ccc")))
    source = list_kinetics(tmp_path)
    assert _facts(source) == {
        f"{place}/aaa_000000_000010.mp4": ("another", "train"),
        f"{place}/bbb_000000_000010.mp4": ("another", "train"),
        "another/ccc_000000_000010.mp4": ("another", "train"),
    }
    [replaced] = source.left_out
    assert (replaced.name, replaced.reason) == (
        "another/aaa_000000_000010.mp4",
        f"is the same clip as {place}/aaa_000000_000010.mp4",
    )
