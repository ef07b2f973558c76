"""A folder of videos, its subfolders the classes."""

from datasets.sources.folder import list_folder


def test_hidden_folders_are_no_classes(tmp_path):
    """A hidden folder, at any depth, is passed over; that the source lies in one itself changes nothing."""
    source = tmp_path / ".cache" / "videos"
    for name in ("cat/a.mp4", "dog/b.mp4", ".ipynb_checkpoints/a-checkpoint.mp4", "dog/.old/c.mp4", "cat/.d.mp4"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(b"x")
    found = list_folder(source)
    assert found.classes == ("cat", "dog")
    assert [(video.name, video.label) for video in found.videos] == [("cat/a.mp4", 0), ("dog/b.mp4", 1)]
