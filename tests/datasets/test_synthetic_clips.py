"""Drawn clips: in memory and as files."""

import numpy as np
import pytest

from datasets import SyntheticClips
from datasets.decode import decode
from datasets.sources.synthetic import write_synthetic
from registry import DATASETS, InputError, use


def _centre(frame):
    """Centre of mass of what differs from the ground."""
    weight = abs(frame.astype(float) - frame[0, 0]).sum(-1)
    return np.array([(weight.sum(1 - axis) * np.arange(len(frame))).sum() / weight.sum() for axis in (0, 1)])


def test_shapes_move_and_stay_inside():
    """Between frames the shape moves by one to two pixels unless it bounces, and it never leaves the frame."""
    dataset = SyntheticClips(clips=12, frames=40)
    for clip in range(len(dataset)):
        video = dataset.window(clip, 0, 40)
        centres = np.array([_centre(frame) for frame in video])
        steps = np.linalg.norm(np.diff(centres, axis=0), axis=1)
        assert 0.9 < np.median(steps) < 2.1
        areas = abs(video.astype(float) - np.median(video, axis=(0, 1, 2))).sum((1, 2, 3))
        assert np.ptp(areas) < 0.08 * areas.mean()  # counted in quarter pixels; a shape that is cut off is smaller


def test_classes_are_told_by_hue():
    """At 16x16 the mean colour of a clip is nearest to the mean colour of its class."""
    dataset = SyntheticClips(clips=80, frames=2, size=16)
    labels = np.array([dataset.label(clip) for clip in range(80)])
    frames = [dataset.window(clip, 0, 1)[0].astype(float) for clip in range(80)]
    colours = np.stack([(frame - frame[0, 0]).reshape(-1, 3).mean(0) for frame in frames])
    colours /= np.linalg.norm(colours, axis=1, keepdims=True)
    means = np.stack([colours[labels == label].mean(0) for label in range(4)])
    nearest = np.linalg.norm(colours[:, None] - means, axis=-1).argmin(1)
    assert (nearest == labels).mean() > 0.95


def test_windows_are_slices():
    """A window equals the slice of the whole clip, and clips differ from one another."""
    dataset = SyntheticClips(clips=9, frames=20, size=16, seed=4)
    np.testing.assert_array_equal(dataset.window(5, 7, 6), dataset.window(5, 0, 20)[7:13])
    assert (dataset.window(1, 0, 1) != dataset.window(5, 0, 1)).any()
    with pytest.raises(IndexError):
        dataset.window(9, 0, 1)
    with pytest.raises(IndexError):
        dataset.window(0, 15, 6)


def test_fingerprint_follows_the_settings():
    """The same settings share a fingerprint, others do not."""
    assert SyntheticClips(seed=1).fingerprint == SyntheticClips(seed=1).fingerprint
    assert SyntheticClips(seed=1).fingerprint != SyntheticClips(seed=2).fingerprint


def test_options_are_checked():
    """Named in a spec, an option out of range is an error with its path."""
    with pytest.raises(InputError, match=r"data\.size.*at least 8"):
        DATASETS.build(use("SyntheticClips", size=4), "data")


def test_files_hold_the_clips(tmp_path):
    """The files decode to nearly the drawn frames, in folders of their classes."""
    dataset = SyntheticClips(clips=5, frames=6)
    assert write_synthetic(tmp_path / "videos", dataset) == 5
    names = sorted(str(path.relative_to(tmp_path / "videos")) for path in (tmp_path / "videos").glob("*/*"))
    assert names == sorted(f"{dataset.name(clip)}.mp4" for clip in range(5))
    for clip in range(5):
        difference = decode(tmp_path / "videos" / f"{dataset.name(clip)}.mp4", 32) - dataset.window(clip, 0, 6).astype(
            int
        )
        assert abs(difference).mean() < 5


def test_writing_again_adds_what_is_missing(tmp_path):
    """A second run writes the missing file alone, equal to the first; other settings are refused."""
    dataset = SyntheticClips(clips=4, frames=3)
    write_synthetic(tmp_path, dataset)
    lost = tmp_path / "square/square_0001.mp4"
    data = lost.read_bytes()
    lost.unlink()
    assert write_synthetic(tmp_path, dataset) == 1
    assert lost.read_bytes() == data
    with pytest.raises(InputError, match="other synthetic clips"):
        write_synthetic(tmp_path, SyntheticClips(clips=4, frames=3, seed=1))


def test_strange_folder_and_odd_size_are_refused(tmp_path):
    """Nothing is written among somebody's files, nor at a size that video cannot have."""
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="something else stands here"):
        write_synthetic(tmp_path, SyntheticClips(clips=4))
    with pytest.raises(InputError, match="33 is odd"):
        write_synthetic(tmp_path / "new", SyntheticClips(clips=4, size=33))
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("ask", ["frames", "label", "name"])
def test_clips_that_there_are_not(ask):
    """No clip is counted from the end, and none comes after the last."""
    for clip in (-1, 4):
        with pytest.raises(IndexError, match=f"clip {clip} is none of the 4 clips"):
            getattr(SyntheticClips(clips=4), ask)(clip)
