"""Generation from a run: what is generated, what it depends on, in which formats, and what is refused."""

import json
import shutil
from itertools import pairwise

import attrs
import av
import numpy as np
import pytest
import torch
import zarr
from PIL import Image
from tiny_runs import copy_of, flip_byte, run_of, two_stages, upsampling_stage

from framework.artifact import load_cascade
from framework.generate import generate
from framework.noise import sample_noise, spherical
from framework.pictures import to_pixels
from framework.request import Request
from framework.run_folder import RunFolder
from registry import InputError

NAMES = ("circle", "cross", "square", "triangle")


def videos_of(run, out, **request) -> dict[str, np.ndarray]:
    """Generated videos by stage, uint8 (count, T, H, W, 3)."""
    path, _ = generate(run.path, Request(**{"count": 3, "formats": ("zarr",), **request}), out)
    return {name: array[:] for name, array in zarr.open_group(path, mode="r").arrays()}


def assert_close(one: np.ndarray, other: np.ndarray) -> None:
    """Equal up to the rounding of values that another batch size computes in another order."""
    assert abs(one.astype(int) - other.astype(int)).max() <= 1


def test_a_sample_does_not_depend_on_how_many_there_are(trained, tmp_path):
    """Sample k is the same whether it is one of three, or of ten in two batches."""
    few = videos_of(trained, tmp_path / "few", count=3, label="cross")
    many = videos_of(trained, tmp_path / "many", count=10, label="cross")
    for name in few:
        assert len(many[name]) == 10
        assert_close(few[name], many[name][:3])
    assert len({video.tobytes() for video in many["full"]}) == 10


def test_samples_are_the_cascades_videos(trained, tmp_path):
    """What is written is what the loaded cascade makes of the samples' noise, class by class in turn."""
    experiment = trained.experiment()
    cascade = load_cascade(trained.artifacts(experiment), experiment, "full")
    noise = sample_noise(cascade, 5, range(6), 0.5)
    expected = cascade.videos(noise, torch.tensor([0, 1, 2, 3, 0, 1]))
    written = videos_of(trained, tmp_path, count=6, seed=5, sigma=0.5)
    assert sorted(written) == sorted(expected) == ["base", "full"]
    for name, video in expected.items():
        assert_close(written[name], to_pixels(video))


def test_noise_is_a_function_of_seed_stage_and_number(trained):
    """Every sample and every stage has noise of its own, N(0, sigma²), whichever others are asked for beside it."""
    experiment = trained.experiment()
    cascade = load_cascade(trained.artifacts(experiment), experiment, "full")
    noise = sample_noise(cascade, 0, range(1000), 0.5)
    assert [z.shape for z in noise] == [(1000, 4)] * 2
    for z in noise:
        assert z.std().item() == pytest.approx(0.5, abs=0.02)
        assert len(set(z.flatten().tolist())) > 3990
    assert not torch.equal(noise[0], noise[1])
    torch.testing.assert_close(sample_noise(cascade, 0, [7, 3], 1.0)[1], 2 * noise[1][[7, 3]])
    assert not torch.equal(sample_noise(cascade, 1, range(1000), 0.5)[0], noise[0])


def test_seed_sigma_and_class_matter(trained, tmp_path):
    """Another seed or class is another video; without noise all samples of a class are one."""
    first = videos_of(trained, tmp_path / "1", label="circle")["full"]
    assert (videos_of(trained, tmp_path / "2", label="circle", seed=1)["full"] != first).any()
    assert (videos_of(trained, tmp_path / "3", label="cross")["full"] != first).any()
    assert (videos_of(trained, tmp_path / "4", label="circle", sigma=0.5)["full"] != first).any()
    still = videos_of(trained, tmp_path / "5", label="circle", sigma=0.0)["full"]
    assert (still == still[:1]).all()


def test_the_global_generator_does_not_matter(trained, tmp_path):
    """Whatever was drawn before, the same request gives the same files."""
    first = videos_of(trained, tmp_path / "1")
    torch.manual_seed(99)
    second = videos_of(trained, tmp_path / "2")
    assert all((first[name] == second[name]).all() for name in first)


@pytest.mark.parametrize(("name", "label"), enumerate(NAMES))
def test_labels_by_name(trained, tmp_path, name, label):
    """A class's name stands for its index; what was asked for is written beside the videos."""
    path, _ = generate(trained.path, Request(count=2, label=label, formats=("zarr",)), tmp_path)
    attributes = zarr.open_group(path, mode="r").attrs
    assert attributes["labels"] == [name, name]
    assert attributes["request"]["label"] == label
    assert json.dumps(attributes["request"])


def test_an_earlier_stage_alone(trained, tmp_path):
    """A stage by name is the end of the cascade; later ones are not made, nor need they be there."""
    run = copy_of(trained, tmp_path / "run")
    shutil.rmtree(run.stage("full"))
    videos = videos_of(run, tmp_path / "out", stage="base")
    assert {name: video.shape for name, video in videos.items()} == {"base": (3, 4, 4, 4, 3)}


def test_all_formats_open_again(trained, tmp_path):
    """Film, picture, GIF and Zarr group lie in the folder asked for, and hold what their geometry says."""
    formats = ("mp4", "png", "gif", "zarr")
    paths = generate(trained.path, Request(count=3, formats=formats, rate=5), tmp_path / "a" / "b")
    assert paths == [tmp_path / "a" / "b" / f"tiny_full.{ending}" for ending in (*formats, "json")]
    height, width = 2 * 128 + 8, 2 * (2 * 128 + 2) + 8  # two rows of two samples of two stages, enlarged to 128
    with av.open(str(paths[0])) as film:
        assert film.streams.video[0].average_rate == 5
        frames = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
    assert np.stack(frames).shape == (8, height, width, 3)
    with Image.open(paths[1]) as sheet:
        # 4 moments of 8 pixels; 3 bands of 2 rows of 8; enlarged by the least factor to 4 * 64 pixels in width
        assert sheet.size == (8 * (4 * 8 + 3), 8 * (3 * 17 + 2 * 4))
        assert sheet.mode == "RGB"
    with Image.open(paths[2]) as gif:
        assert (gif.n_frames, gif.size) == (8, (width, height))
        gif.seek(5)
        shown = np.asarray(gif.convert("RGB")).astype(int)
    group = zarr.open_group(paths[3], mode="r")
    assert {name: (array.shape, array.dtype.name) for name, array in group.arrays()} == {
        "base": ((3, 4, 4, 4, 3), "uint8"),
        "full": ((3, 8, 8, 8, 3), "uint8"),
    }
    frame = group["full"][0][5].repeat(16, 0).repeat(16, 1).astype(int)
    assert abs(shown[:128, 130:258] - frame).mean() < 12  # a GIF has 256 colours
    assert abs(frames[5][:128, 130:258].astype(int) - frame).mean() < 12  # an MP4 half the colour pixels


def test_generating_again_replaces(trained, tmp_path):
    """The same command writes the same files over the old ones, without leftovers."""
    for count in (4, 2):
        paths = generate(trained.path, Request(count=count, formats=("png", "zarr")), tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted(paths)
    assert zarr.open_group(paths[1], mode="r")["full"].shape[0] == 2


def test_other_requests_have_other_files(trained, tmp_path):
    """Videos of another class, sigma, seed or length do not take the place of these."""
    requests = ({}, {"label": "cross"}, {"sigma": 0.5}, {"seed": 2}, {"frames": 6}, {"between": (0, 1)})
    paths = [generate(trained.path, Request(count=2, formats=("png",), **each), tmp_path) for each in requests]
    assert sorted(tmp_path.iterdir()) == sorted(path for each in paths for path in each)
    assert [path.stem for path, _ in paths] == [
        "tiny_full",
        "tiny_full_cross",
        "tiny_full_sigma_0.5",
        "tiny_full_seed_2",
        "tiny_full_6_frames",
        "tiny_full_0_to_1",
    ]


@pytest.mark.parametrize("ending", ["mp4", "png", "gif", "zarr", "json"])
def test_what_is_in_the_way_is_refused_first(trained, tmp_path, monkeypatch, ending):
    """Something else where an output would go is named before anything is generated, and stays as it is."""
    monkeypatch.setattr("framework.generate._fill", lambda *_: pytest.fail("it was generated"))
    there = tmp_path / f"tiny_full.{ending}"
    there.mkdir()
    (there / "zarr.json").write_text('{"attributes": {"mine": 1}}')
    with pytest.raises(InputError, match=f"^{there}: is in the way"):
        generate(trained.path, Request(formats=("mp4", "png", "gif", "zarr")), tmp_path)
    assert [path.name for path in tmp_path.rglob("*")] == [there.name, "zarr.json"]
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match=r"^--out: .*file is not a folder"):
        generate(trained.path, Request(), tmp_path / "file")


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ({"stage": "ful"}, "--stage: no stage is called 'ful'; allowed: base, full; did you mean 'full'?"),
        (
            {"label": "triangel"},
            f"--label: no class is called 'triangel'; allowed: {', '.join(NAMES)}; did you mean 'triangle'?",
        ),
    ],
)
def test_bad_requests_are_refused(trained, tmp_path, request_, expected):
    """What is not there is named with what is; nothing is written."""
    with pytest.raises(InputError) as caught:
        generate(trained.path, Request(**request_), tmp_path / "out")
    assert expected in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_untrained_and_damaged_stages_are_refused(trained, tmp_path):
    """A run in the middle of its training, a damaged artifact, another base: each is named, nothing is written."""
    run = copy_of(trained, tmp_path / "run")
    weights = run.artifact("base") / "generator.safetensors"
    flip_byte(weights)
    with pytest.raises(InputError, match=f"^{weights}: does not match the digest"):
        generate(run.path, Request(), tmp_path / "out")
    shutil.rmtree(run.artifact("full"))
    with pytest.raises(InputError, match=r"generator.safetensors|there is no finished artifact"):
        generate(run.path, Request(), tmp_path / "out")
    flip_byte(weights)
    with pytest.raises(InputError, match=f"^{run.artifact('full')}: there is no finished artifact"):
        generate(run.path, Request(), tmp_path / "out")
    with pytest.raises(InputError, match="holds no run"):
        generate(tmp_path / "nothing", Request(), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_unconditional_cascade(tmp_path):
    """Without classes no label is taken, and none is written."""
    run = run_of(two_stages(classes=None, iterations=1), tmp_path / "run", only="base")
    request = Request(stage="base", count=2, formats=("zarr",))
    path, _ = generate(run.path, request, tmp_path / "out")
    assert zarr.open_group(path, mode="r").attrs["labels"] is None
    with pytest.raises(InputError, match="--label: 'circle': the cascade is unconditional"):
        generate(run.path, Request(stage="base", label="circle"), tmp_path / "out")


def test_several_ends_need_a_name(tmp_path):
    """Of a cascade with two ends one has to be said."""
    experiment = two_stages()
    graph = experiment.graph
    stages = (*graph.stages, upsampling_stage("other", "base", graph.clip))
    run = RunFolder(tmp_path / "run")
    run.begin(attrs.evolve(experiment, graph=attrs.evolve(graph, stages=stages)), "data")
    with pytest.raises(InputError, match="--stage: the cascade has several ends; say which; allowed: full, other"):
        generate(run.path, Request(), tmp_path / "out")


@pytest.mark.parametrize("ending", ["mp4", "gif", "zarr"])
def test_a_full_disk_is_named(trained, tmp_path, ending):
    """Where the videos cannot be written the error has their path, and no half of a film has its name."""
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(OSError, match=rf"File too large: '.*/tiny_full\.{ending}'"):
            generate(trained.path, Request(count=3, formats=(ending,)), tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == []


def test_on_the_way_from_one_sample_to_another(trained, tmp_path):
    """The ends are those samples of the seed; between them videos change, each less far from its neighbours."""
    ends = videos_of(trained, tmp_path / "ends", count=6, label="cross")["full"][[2, 5]]
    way = videos_of(trained, tmp_path / "way", count=5, label="cross", between=(2, 5))["full"]
    assert_close(way[[0, -1]], ends)
    steps = [abs(one.astype(int) - other).mean() for one, other in pairwise(way)]
    assert min(steps) > 0
    assert max(steps) < abs(ends[0].astype(int) - ends[1]).mean()


def test_interpolation_keeps_the_length_of_noise():
    """On the great circle: ends are met, a quarter of a right angle is where it should be, lengths go evenly."""
    one, other = torch.tensor([2.0, 0, 0]), torch.tensor([0, 4.0, 0])
    found = spherical(one, other, torch.tensor([0.0, 0.5, 1.0]))
    torch.testing.assert_close(found, torch.tensor([[2.0, 0, 0], [3 * 0.5**0.5, 3 * 0.5**0.5, 0], [0, 4, 0]]))
    torch.testing.assert_close(spherical(one, -one, torch.tensor([0.25])), torch.tensor([[1.0, 0, 0]]))
    torch.testing.assert_close(spherical(0 * one, 0 * one, torch.tensor([0.5])), torch.zeros(1, 3))
