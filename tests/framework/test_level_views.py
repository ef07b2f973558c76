"""Levels that ingestion makes for an experiment."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import zarr

from datasets import ClipStore, SyntheticClips
from datasets.ingest import ingest
from datasets.options import IngestOptions
from datasets.sources.layouts import SourceFolder
from datasets.sources.synthetic import write_synthetic
from datasets.verify import verify
from framework.level_views import level_views
from registry import InputError

ROOT = Path(__file__).parents[2]
SPEC = str(ROOT / "experiments" / "bdd_3stage.py")


def test_levels_of_the_paper():
    """The three stages at 128x128 need levels of 64x64 and 32x32."""
    views = level_views(SPEC, 128, 2)
    assert [(str(view), view.size(128, 128)) for view in views] == [
        ("nearest space=2", (64, 64)),
        ("nearest space=4", (32, 32)),
    ]


def test_level_is_what_nearest_gives(tmp_path):
    """Every pixel of a level is that of torch's nearest interpolation of level 0; its files are verified."""
    write_synthetic(tmp_path / "videos", SyntheticClips(clips=5, frames=11))
    options = IngestOptions(size=128, levels=level_views(SPEC, 128, 2), codec="zstd")
    ingest(SourceFolder(tmp_path / "videos"), tmp_path / "a.zarr", options, workers=1)
    store = ClipStore(path=str(tmp_path / "a.zarr"))
    assert [(level.height, level.width, level.view) for level in store.manifest.levels] == [
        (128, 128, ""),
        (64, 64, "nearest space=2"),
        (32, 32, "nearest space=4"),
    ]
    group = zarr.open_group(store.path, mode="r")
    full = torch.from_numpy(group["levels/0"][:]).permute(0, 3, 1, 2)
    for level, size in ((1, 64), (2, 32)):
        expected = torch.nn.functional.interpolate(full.float(), size=size, mode="nearest").byte()
        np.testing.assert_array_equal(group[f"levels/{level}"][:], expected.permute(0, 2, 3, 1).numpy())
    assert verify(store) == []


@pytest.mark.parametrize(("size", "stride"), [(64, 2), (128, 1)])
def test_spec_for_other_frames_is_refused(size, stride):
    """Levels of a spec for other frames than the store's would never be read."""
    with pytest.raises(InputError, match="allowed: --size 128 --stride 2"):
        level_views(SPEC, size, stride)


def test_mixing_view_is_refused(tmp_path):
    """A stage whose view is a mean of pixels has no level with equal pixels; the error names it."""
    code = (ROOT / "experiments" / "bdd_3stage.py").read_text().replace('"NearestView"', '"AreaView"')
    (tmp_path / "area.py").write_text(code)
    with pytest.raises(InputError, match=r"stage 'base' are mixed of several pixels \(AreaView"):
        level_views(str(tmp_path / "area.py"), 128, 2)


def test_command(tmp_path):
    """The command makes the levels, and the same command finds them made."""
    write_synthetic(tmp_path / "videos", SyntheticClips(clips=2, frames=4))
    arguments = [tmp_path / "videos", tmp_path / "a.zarr", "--stride", "2", "--levels", SPEC]
    for text in ("written", "stands there already"):
        command = [sys.executable, str(ROOT / "tools" / "ingest.py"), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert text in done.stdout
    manifest = json.loads((tmp_path / "a.zarr" / "manifest.json").read_text())
    assert manifest["request"]["levels"] == ["nearest space=2", "nearest space=4"]
