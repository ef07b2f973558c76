"""Evaluation of a trained run: what is measured, on what, in which protocol, and what is refused."""

import json
from contextlib import suppress

import attrs
import numpy as np
import pytest
import torch
from stage_makers import RandomClips
from tiny_runs import copy_of, flip_byte, two_stages

from components.metrics import frechet_distance
from datasets.base import VideoDataset
from datasets.store import Settings
from datasets.writer import StoreWriter
from framework import Clip, use
from framework.cascade import Cascade
from framework.check_data import open_data
from framework.evaluate import Request, _data, evaluate
from framework.measures import NAMES, Compared, fewest_of, make_features, make_metrics
from framework.noise import sample_noise
from framework.real_clips import RealClips
from framework.trained import find, open_cascade
from registry import METRICS, InputError

RANDOM = "RandomFeatures(dim=3)"


def by_name(records):
    return {record.metric: record for record in records}


def test_a_figure_is_that_of_the_videos(trained):
    """FID by hand: of the features of the cascade's samples and of the clips, each once, labels of the clips."""
    request = Request(metrics=("fid",), features=RANDOM, count=8, batch=3, seed=5)
    [record] = evaluate(trained.path, request)
    network = make_features(RANDOM)
    found = find(trained.path)
    cascade = open_cascade(found).cascade
    real = RealClips(open_data(found.experiment), found.experiment, found.stages[-1], 8, 5)
    labels = real.labels(range(8))
    videos = cascade.videos(sample_noise(cascade, 5, range(8), 1.0), labels)["full"]
    sides = [network(real.videos(range(8), torch.device("cpu"))).pooled, network(videos).pooled]
    moments = [(x.double().mean(0), torch.from_numpy(np.cov(x.double().T.numpy()))) for x in sides]
    assert record.value == pytest.approx(float(frechet_distance(*moments[0], *moments[1])), rel=1e-3)
    assert record.protocol["videos"] == {"real": 8, "generated": 8, "clips_long_enough": 8, "clips": 8}


def test_all_that_can_be_measured(trained, capsys):
    """Without names: every metric that the run has, each line with its whole protocol; the rest is noted."""
    records = by_name(evaluate(trained.path, Request(count=6)))
    assert set(records) == {"psd", "grounding_psnr", "grounding_ssim", "seams", "motion"}
    noted = capsys.readouterr().err
    assert all(f"note: {name} is left out" in noted for name in ("fvd", "fid", "is"))
    protocol = records["seams"].protocol
    found = find(trained.path)
    assert protocol["artifact"] == found.digest
    assert protocol["store"] == found.manifests["full"].data
    assert protocol["split"] == "the data that it was trained on"
    assert (protocol["frames"], protocol["stride"], protocol["size"]) == (8, 1, "8x8")
    assert protocol["statistics"]["full"] == "of 8 frames, 3 passes of 4"
    assert protocol["features"] is None
    assert json.dumps(records["psd"].detail)


def test_features_are_named_in_the_protocol(trained):
    """Random features say so."""
    [record] = evaluate(trained.path, Request(metrics=("fid",), features=RANDOM))
    assert record.protocol["features"]["random"]
    assert record.protocol["layer"] == "pooled"
    assert "jackknife" in record.protocol["interval"]


def test_it_does_not_depend_on_the_batch(trained):
    """The same videos in batches of any size."""
    results = [
        by_name(evaluate(trained.path, Request(metrics=("fid", "grounding"), features=RANDOM, batch=batch)))
        for batch in (1, 8)
    ]
    for name, record in results[0].items():
        assert record.value == pytest.approx(results[1][name].value, rel=1e-3)


def test_unrolled(trained):
    """At another length the protocol says which, and how statistics are taken."""
    records = by_name(evaluate(trained.path, Request(metrics=("motion",), frames=6)))
    assert records["motion"].protocol["frames"] == 6
    assert records["motion"].protocol["statistics"]["full"].startswith("of 8 frames, for 6")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"metrics": ("fdv",)}, "--metrics: no metric is called 'fdv'; allowed: fid, fvd, grounding, is, motion, psd"),
        ({"metrics": ("fid",)}, "--features: FID compares features, and no network is named"),
        ({"metrics": ("is",), "features": RANDOM}, "--features: IS compares logits, which the network does not have"),
        (
            {"metrics": ("fid",), "features": "RandomFeatures(dim=8)"},
            "--count: FID of features of 8 dimensions needs 9 videos, there are 8; allowed: at least 9",
        ),
        ({"metrics": ("grounding",), "stage": "base"}, "this is a base stage"),
        ({"metrics": ("seams",), "frames": 3}, "--frames: Seams needs 5 frames, the videos have 3"),
        ({"frames": 900}, "--frames: 900 frames of full are made of 900 frames of a clip, and no clip has as many"),
        ({"count": 9}, "--count: 9 videos, but 8 clips are long enough; allowed: at most 8"),
        ({"features": "RandomFeature"}, "did you mean 'RandomFeatures'?"),
        ({"features": "none/there"}, "--features: there is no file or folder none/there"),
        ({"features": "i3d.pt"}, "--features: there is no file or folder i3d.pt; allowed: I3D, "),
        ({"features": "my weights (1).pt"}, "--features: there is no file or folder my weights (1).pt"),
        (
            {"features": "https://a.b/i3d.pt"},
            'https://a.b/i3d.pt could hold anything; allowed: I3D(weights="https://a.b/i3d.pt", digest="...")',
        ),
        ({"store": "none"}, "--store: none: there is no such store"),
        ({"metrics": ("fdv(per_class=true)",)}, "--metrics: no metric is called 'fdv'"),
        ({"metrics": ("psd(frame=[1])",)}, "'frame' is not an option of PSD; allowed: frames"),
        ({"metrics": ("PSD(frame=[1])",)}, "'frame' is not an option of PSD; allowed: frames"),
    ],
)
def test_what_cannot_be_measured_is_refused(trained, changes, says):
    """In one line, before anything is generated."""
    with pytest.raises(InputError) as caught:
        evaluate(trained.path, Request(**changes))
    assert says in str(caught.value)


def test_options_of_metrics(trained):
    """A component by name takes its options."""
    records = evaluate(trained.path, Request(metrics=("PSD(frames=[2,3])",), count=4))
    assert [record.detail["frame"] for record in records] == [2, 3]
    assert records[0].protocol["metric_options"] == "PSD(frames=[2, 3])"


@pytest.mark.parametrize(
    "name", ["psd(frames=[2, 3])", "Psd(frames=[2,3])", '{"type": "PSD", "options": {"frames": [2, 3]}}']
)
def test_names_with_options_are_those_without(trained, name):
    """In upper and lower case, and written anyhow, it is the same measurement, which replaces an earlier one."""
    [expected, _] = evaluate(trained.path, Request(metrics=("PSD(frames=[2, 3])",), count=4))
    records = evaluate(trained.path, Request(metrics=(name, "PSD(frames=[2, 3])"), count=4))
    assert len(records) == 2
    assert records[0] == expected


def test_every_metric_takes_options_by_its_short_name(trained):
    """`is` among them, which is no name in Python; --per-class reaches those with options as well."""
    for name in NAMES:
        given = Compared(frames=8, count=8, stride=1, time=2)
        with suppress(InputError):
            make_metrics(find(trained.path), None, (f"{name}()",), given, per_class=False)
            continue
        with pytest.raises(InputError, match=r"--features: .* and no network is named"):
            make_metrics(find(trained.path), None, (f"{name}()",), given, per_class=False)
    records = evaluate(trained.path, Request(metrics=("fid()",), features="RandomFeatures(dim=1)", per_class=True))
    assert [record.label for record in records] == [None, "circle", "cross", "square", "triangle"]
    assert records[0].protocol["metric_options"] is None


def test_sums_that_no_memory_holds_are_refused(trained, monkeypatch, capsys):
    """Before anything is generated, with how much they take: 2 sides of 5 kinds of 10 groups of D x D float64."""
    monkeypatch.setattr(Cascade, "videos", None)
    network = make_features("RandomFeatures(dim=2000)")
    given = Compared(frames=8, count=10**6, stride=1, time=2, fewest=("circle", 10**5), classes=4)
    monkeypatch.setattr("framework.measures.machine_memory", lambda: 3 * 10**9)
    with pytest.raises(InputError) as caught:
        make_metrics(find(trained.path), network, ("fid",), given, per_class=True)
    assert str(caught.value) == (
        "--features: sums of outer products of features take 3.2 GB of memory, and there are 3.0 GB; "
        "allowed: features of fewer dimensions, or figures of all classes as one"
    )
    monkeypatch.setattr("framework.measures.machine_memory", lambda: 4 * 10**9)
    make_metrics(find(trained.path), network, ("fid",), given, per_class=True)
    assert "take 3.2 GB of memory; of fewer dimensions" in capsys.readouterr().err
    make_metrics(find(trained.path), network, ("fid",), given, per_class=False)
    assert capsys.readouterr().err == ""


def test_processes_of_one_machine_share_its_memory(trained, monkeypatch, capsys):
    """Each of six holds its sums, the total and another's, 3 x 3.2 GB: four of them fit where all do not."""
    network = make_features("RandomFeatures(dim=2000)")
    given = Compared(frames=8, count=10**6, stride=1, time=2, fewest=("circle", 10**5), classes=4)
    monkeypatch.setattr("components.ranks.world", lambda: 6)
    monkeypatch.setattr("framework.measures.machine_memory", lambda: 40 * 10**9)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    make_metrics(find(trained.path), network, ("fid",), given, per_class=True)
    assert "take 9.6 GB of memory in each of the 4 processes on this machine; of fewer" in capsys.readouterr().err
    for said in ("5", None):
        monkeypatch.setenv("LOCAL_WORLD_SIZE", said) if said else monkeypatch.delenv("LOCAL_WORLD_SIZE")
        with pytest.raises(InputError) as caught:
            make_metrics(find(trained.path), network, ("fid",), given, per_class=True)
        told = str(caught.value)
        assert f"in each of the {said or 6} processes on this machine, and there are 40.0 GB; allowed: " in told
        assert told.endswith("as one, or fewer processes")


def test_data_that_is_away_says_that_other_may_be_given(trained, tmp_path):
    """An artifact goes elsewhere without its data: the line has the option; one that was given is named itself."""
    experiment = attrs.evolve(two_stages(), data=use("ClipStore", path=str(tmp_path / "none")))
    found = attrs.evolve(find(trained.path), experiment=experiment)
    with pytest.raises(InputError, match=r"none: there is no such store; allowed: .*, or another store .* by --store$"):
        _data(found, None)
    with pytest.raises(InputError) as caught:
        _data(find(trained.path), str(tmp_path / "other"))
    assert str(caught.value).startswith(f"--store: {tmp_path}/other: there is no such store; allowed: ")
    assert "data.path" not in str(caught.value)


def test_videos_that_are_not_finite_are_refused(trained):
    """An absurd sigma is said, instead of figures that no JSON holds."""
    with pytest.raises(InputError, match="--sigma: at 1e\\+38 generated videos are not finite"):
        evaluate(trained.path, Request(metrics=("motion",), sigma=1e38))


def test_per_class(trained, monkeypatch):
    """Each class's figure has its name; two clips of a class are too few, which is said before any is generated."""
    with monkeypatch.context() as patch:
        patch.setattr(Cascade, "videos", None)
        with pytest.raises(InputError, match=r"--count: FID .* 2 dimensions needs 3 videos of each class, of circle"):
            evaluate(trained.path, Request(metrics=("fid",), features="RandomFeatures(dim=2)", per_class=True))
    records = evaluate(trained.path, Request(metrics=("fid",), features="RandomFeatures(dim=1)", per_class=True))
    assert [record.label for record in records] == [None, "circle", "cross", "square", "triangle"]


def test_the_class_that_fewest_videos_are_of():
    """Among those that there are videos of."""
    labels, names = torch.tensor([0, 2, 2, 0, 0, 3, 3, 3]), ("a", "b", "c", "d")
    assert fewest_of(labels, names) == ("c", 2)
    assert fewest_of(None, names) is None
    assert fewest_of(labels, None) is None


@pytest.mark.parametrize("classes", [("triangle", "square", "cross", "circle"), ("circle", "cross", "square", "star")])
def test_a_store_of_other_classes_is_refused(trained, classes, monkeypatch):
    """Labels are places in a list: videos of one class would be generated to be compared with another's."""
    dataset = open_data(two_stages())
    dataset.classes = classes
    monkeypatch.setattr("framework.evaluate.open_data", lambda _: dataset)
    with pytest.raises(InputError, match=r"data: class \d is .* there, and .* was trained; allowed: the classes that"):
        evaluate(trained.path, Request(metrics=("motion",)))


def test_lengths_that_the_view_does_not_divide(trained):
    """Seven frames are made of four of the source: grounding compares the three that the video fills."""
    [psnr, _] = evaluate(trained.path, Request(metrics=("grounding",), frames=7, count=2))
    found = find(trained.path)
    cascade = open_cascade(found, 7).cascade
    real = RealClips(open_data(found.experiment), found.experiment, found.stages[-1], 7, 0)
    videos = cascade.videos(sample_noise(cascade, 0, range(2), 1.0), real.labels(range(2)), 7)
    assert (videos["full"].shape[1], videos["base"].shape[1]) == (7, 4)
    errors = (videos["full"][:, 0:6:2, :, ::2, ::2] - videos["base"][:, :3]).square().mean(dim=(1, 2, 3, 4))
    assert psnr.value == pytest.approx(float((10 * (4 / errors).log10()).mean()), rel=1e-4)
    with pytest.raises(InputError, match="--frames: Grounding needs 2 frames, the videos have 1"):
        evaluate(trained.path, Request(metrics=("grounding",), frames=1))


def test_a_damaged_artifact_is_refused(trained, tmp_path):
    """As everywhere: named, nothing measured."""
    run = copy_of(trained, tmp_path / "run")
    flip_byte(run.artifact("base") / "generator.safetensors")
    with pytest.raises(InputError, match="does not match the digest"):
        evaluate(run.path, Request())


class TestRealClips:
    """Real videos at any length, through the stage's views."""

    def clips(self, dataset: VideoDataset, frames: int, stage: str = "base", seed: int = 0):
        experiment = two_stages()
        return RealClips(dataset, experiment, experiment.graph[stage], frames, seed)

    def test_each_clip_once(self):
        """Those long enough, each once, in an order of the seed; pixels are the view's of a window of the clip."""
        dataset = RandomClips([8, 5, 9, 20], Clip(8, 8, 8), classes=4)
        real = self.clips(dataset, 4)
        assert len(real) == 3
        videos = real.videos(range(3), torch.device("cpu"))
        assert videos.shape == (3, 4, 3, 4, 4)
        seen = set()
        for video in videos:
            pixels = ((video + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
            places = [
                (clip, start)
                for clip in (0, 2, 3)
                for start in range(len(dataset.videos[clip]) - 7)
                if np.array_equal(dataset.videos[clip][start : start + 8 : 2, ::2, ::2], pixels)
            ]
            assert len(places) == 1
            seen.add(places[0][0])
        assert seen == {0, 2, 3}
        orders = {tuple(self.clips(dataset, 4, seed=seed).labels(range(3)).tolist()) for seed in range(20)}
        assert len(orders) > 1

    def test_longer_than_the_graphs_clip(self):
        """An unrolled length takes as much of a clip as its views need."""
        dataset = RandomClips([20, 40], Clip(8, 8, 8), classes=4)
        assert len(self.clips(dataset, 10)) == 2
        assert len(self.clips(dataset, 11)) == 1
        assert self.clips(dataset, 20).videos([0], torch.device("cpu")).shape == (1, 20, 3, 4, 4)
        with pytest.raises(InputError, match="no clip has as many"):
            self.clips(dataset, 21)


def test_names():
    """Every short name is that of a registered metric."""
    assert set(NAMES.values()) <= set(METRICS.names())


def test_a_store_that_does_not_fit_calls_for_another_store(trained, tmp_path):
    """What was trained is not changed by another spec: of each problem with ``--store`` a store is the remedy."""
    store = tmp_path / "a.zarr"
    with StoreWriter(store, Settings.of(8, 8, 3, 1, "none"), None) as writer:
        writer.append("a.mp4", np.zeros((4, 8, 8, 3), np.uint8), None)
        writer.finish({"made": "by a test"})
    with pytest.raises(InputError) as caught:
        _data(find(trained.path), str(store))
    allowed = "allowed: a store of clips of 8x8/8 @1 with the run's 4 classes (circle, cross, square, triangle)"
    short, labels = str(caught.value).splitlines()
    assert short.endswith(f"has 4); {allowed}")
    assert labels == f"--store: {store}: graph.classes is 4, but the clips have no labels; {allowed}"
