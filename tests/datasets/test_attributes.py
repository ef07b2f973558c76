"""Splits, labels and attributes on their way into the index."""

import json

import numpy as np
import zarr
from video_files import scene, write_video

from datasets import ClipStore
from datasets.ingest import ingest
from datasets.options import IngestOptions
from datasets.sources.layouts import SourceFolder


def test_attributes_are_in_the_index(tmp_path):
    """Every clip's split and weather stand in arrays of the store, by the names that the manifest lists."""
    drives = tmp_path / "bdd"
    for name in ("train/a.mov", "train/b.mov", "val/c.mov"):
        (drives / "videos" / name).parent.mkdir(parents=True, exist_ok=True)
        write_video(drives / "videos" / name, scene(3))
    (drives / "labels").mkdir()
    labels = [{"name": f"{name}.jpg", "attributes": {"weather": weather}} for name, weather in ("ar", "cs")]
    (drives / "labels" / "all.json").write_text(json.dumps(labels))
    (drives / "val.txt").write_text("c\nmissing\n")
    done = ingest(SourceFolder(drives, "bdd100k"), tmp_path / "a.zarr", IngestOptions(size=16), workers=1)
    store = ClipStore(path=str(tmp_path / "a.zarr"))
    assert dict(store.manifest.attributes) == {"split": ("train", "val"), "weather": ("r", "s")}
    group = zarr.open_group(store.path, mode="r")
    np.testing.assert_array_equal(group["clips/attributes/split"][:], [0, 0, 1])
    np.testing.assert_array_equal(group["clips/attributes/weather"][:], [0, -1, 1])
    [missing] = json.loads((store.path / "quarantine.json").read_text())
    assert missing["name"] == "val/missing"
    assert done.left_out == 1
