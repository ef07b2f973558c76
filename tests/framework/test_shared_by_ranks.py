"""Generating and measuring shared by processes: what one makes, two make."""

import numpy as np
import pytest
import zarr
from ranks import results

from framework.evaluate import Request as Measured
from framework.evaluate import evaluate
from framework.generate import generate
from framework.request import Request


def _generated(path, out, count):
    return [file.name for file in generate(path, Request(count=count, formats=("zarr", "png"), batch=2), out)]


def _measured(path):
    records = evaluate(path, Measured(metrics=("fid", "grounding"), features="RandomFeatures(dim=2)", count=7, batch=3))
    return [(record.metric, record.value, record.interval) for record in records]


@pytest.mark.parametrize("count", [1, 5])
def test_generating(trained, tmp_path, count):
    """Every sample is in the one Zarr group, the same as one process makes it; each picture is somebody's."""
    files = results(_generated, 2, tmp_path, trained.path, tmp_path / "two", count)
    _generated(trained.path, tmp_path / "one", count)
    assert "tiny_full.zarr" in files[0]
    assert "tiny_full.zarr" not in files[1]
    pictures = [name for rank in files for name in rank if name.endswith(".png")]
    assert len(pictures) == len(set(pictures)) == (count + 1) // 2
    groups = [zarr.open_group(tmp_path / name / "tiny_full.zarr", mode="r") for name in ("one", "two")]
    for stage in ("base", "full"):
        one, other = (group[stage][:].astype(int) for group in groups)
        assert one.shape == other.shape
        assert np.abs(one - other).max() <= 1
    assert not list(tmp_path.rglob("*.partial"))


def test_measuring(trained, tmp_path):
    """Both ranks have the figures of one process, though they saw different videos."""
    first, second = results(_measured, 2, tmp_path, trained.path)
    assert first == second
    for (name, value, interval), expected in zip(first, _measured(trained.path), strict=True):
        assert name == expected[0]
        assert value == pytest.approx(expected[1], rel=1e-3)
        assert interval == pytest.approx(expected[2], rel=1e-2)
