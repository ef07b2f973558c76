"""Trained stages wherever they are, and statistics of other lengths beside them."""

import json
import shutil
import sys

import attrs
import pytest
import torch
from tiny_runs import copy_of, flip_byte, run_of, two_stages, upsampling_stage

from components.clip import Clip, Span
from components.layers import Timeline
from framework import use
from framework.generate import generate
from framework.noise import sample_noise
from framework.other_lengths import estimate_for
from framework.request import Request
from framework.run_folder import RunFolder
from framework.statistics import note_path
from framework.trained import find, open_cascade
from registry import InputError
from registry.checksum import checksummed


@pytest.fixture
def run(trained, tmp_path):
    """A run of one's own."""
    return copy_of(trained, tmp_path / "run")


def videos(path, frames=None, stage=None):
    """Every stage's videos of three samples."""
    loaded = open_cascade(find(path, stage), frames)
    cascade = loaded.cascade
    return cascade.videos(sample_noise(cascade, 0, range(3), 1.0), torch.tensor([0, 1, 2]), frames), loaded.statistics


def test_an_artifact_generates_by_itself(run, tmp_path):
    """Moved elsewhere, without its run, the last stage's folder alone makes all stages' videos, the same ones."""
    expected, _ = videos(run.path)
    alone = tmp_path / "elsewhere"
    shutil.move(run.artifact("full"), alone)
    shutil.rmtree(run.path)
    found, _ = videos(alone)
    assert list(found) == ["base", "full"]
    for name, video in expected.items():
        assert torch.equal(found[name], video)
    assert list(videos(alone, stage="base")[0]) == ["base"]
    assert find(alone).run is None
    with pytest.raises(InputError, match="--stage: no stage is called 'ful'; allowed: base, full; did you mean 'full'"):
        find(alone, "ful")


@pytest.mark.parametrize(
    ("file", "says"),
    [
        ("generator.safetensors", "does not match the digest"),
        ("source/generator.safetensors", "does not match the digest"),
        ("source/spec.json", "does not match the digest"),
        ("source/manifest.json", "was trained on another artifact|is damaged|format|is not|unknown"),
        ("manifest.json", "is damaged"),
    ],
)
def test_a_broken_chain_is_refused(run, tmp_path, file, says):
    """Whatever is changed in the folder or in the source inside it is named, and nothing is written."""
    alone = tmp_path / "elsewhere"
    shutil.copytree(run.artifact("full"), alone)
    flip_byte(alone / file)
    with pytest.raises(InputError, match=says) as caught:
        generate(alone, Request(), tmp_path / "out")
    assert str(alone) in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_source_of_another_training_is_refused(run, tmp_path):
    """A source that is whole, but not the one that the stage was trained on."""
    alone = tmp_path / "elsewhere"
    shutil.copytree(run.artifact("full"), alone)
    manifest = alone / "source" / "manifest.json"
    manifest.write_text(json.dumps(checksummed({**json.loads(manifest.read_text()), "iterations": 5})))
    with pytest.raises(InputError, match=r"was trained on another artifact than the one in .*source"):
        find(alone)


def test_no_bit_of_the_last_manifest_may_change(run):
    """No other artifact names its digest: it has one of its own."""
    alone = run.artifact("full")
    find(alone)
    for place in range(0, (alone / "manifest.json").stat().st_size, 9):
        flip_byte(alone / "manifest.json", place)
        with pytest.raises(InputError):
            find(alone)
        flip_byte(alone / "manifest.json", place)
    find(alone)


@pytest.mark.parametrize("name", ["generator.safetensors", "spec.json"])
def test_a_manifest_names_the_digest_of_every_file(run, name):
    """A file that no digest speaks of is not read, whatever the checksum says."""
    path = run.artifact("full") / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["digests"][name]
    path.write_text(json.dumps(checksummed(manifest)))
    with pytest.raises(InputError, match=f"manifest.json: has no digest of {name}"):
        find(run.artifact("full"))


def test_nothing_of_a_changed_spec_is_run(run, tmp_path, monkeypatch):
    """Modules that a spec names are imported once its digest is verified, not before."""
    (tmp_path / "not_asked_for.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    spec = run.artifact("full") / "spec.json"
    spec.write_text(json.dumps({**json.loads(spec.read_text()), "imports": ["not_asked_for"]}))
    with pytest.raises(InputError, match="does not match the digest"):
        find(run.artifact("full"))
    assert "not_asked_for" not in sys.modules


def test_an_artifact_of_something_else(run):
    """A classifier's, for instance, is named for what it is."""
    path = run.artifact("full") / "manifest.json"
    path.write_text(json.dumps({"kind": "classifier", "format": 1}))
    with pytest.raises(InputError, match="holds a classifier, not a stage of a cascade"):
        find(run.artifact("full"))


def test_other_lengths_begin_as_the_trained_one(run):
    """The base's first frames do not know how long the video gets; a longer video says whose statistics it has."""
    short, said = videos(run.path)
    assert said == {"base": "of 4 frames, 3 passes of 4", "full": "of 8 frames, 3 passes of 4"}
    long, said = videos(run.path, 40)
    assert {name: video.shape[1] for name, video in long.items()} == {"base": 20, "full": 40}
    torch.testing.assert_close(long["base"][:, :4], short["base"])
    assert said["base"] == "of 4 frames, for 20 (frame 4 held), 3 passes of 4"
    assert said["full"].startswith("of 8 frames, for 40 (frame ")


def test_attention_over_time_feels_both_ends(tmp_path):
    """Its other lengths take half of the timesteps from the beginning and half from the end, however long."""
    experiment = two_stages(iterations=1)
    base = experiment.graph["base"]
    options = {**base.generator.options, "attention": [4], "attention_axes": ["time"]}
    experiment = experiment.with_stage("base", generator=use("DVDGenerator", **options))
    run_of(experiment, tmp_path / "run", only="base")
    loaded = open_cascade(find(tmp_path / "run", "base"), 10)
    assert loaded.statistics["base"] == "of 4 frames, for 10 (frame 2 held), 3 passes of 4"
    [link] = loaded.cascade.links
    assert Timeline(4, 10, 4).rows(0, 10).tolist() == [0, 1, 1, 1, 1, 1, 1, 1, 2, 3]
    video = loaded.cascade.videos(sample_noise(loaded.cascade, 0, range(2), 1.0), torch.tensor([0, 1]), 10)["base"]
    with torch.no_grad():
        noise = sample_noise(loaded.cascade, 0, range(2), 1.0)
        torch.testing.assert_close(link.generator(noise[0], torch.tensor([0, 1]), None, Span.whole(10)), video)


def test_statistics_of_a_length_are_estimated_and_kept(run):
    """They are used from then on for that length alone, are the same when estimated again, and change the video."""
    held, _ = videos(run.path, 12)
    lines = estimate_for(run.path, 12, passes=2, batch=3)
    assert [line.split(" in ")[0] for line in lines] == [
        "base: of 6 frames, 2 passes of 3",
        "full: of 12 frames, 2 passes of 3",
    ]
    estimated, said = videos(run.path, 12)
    assert said == {"base": "of 6 frames, 2 passes of 3", "full": "of 12 frames, 2 passes of 3"}
    assert not torch.allclose(estimated["full"], held["full"])
    assert videos(run.path, 16)[1]["full"].startswith("of 8 frames, for 16")
    before = {path: path.stat().st_mtime_ns for path in run.path.rglob("frames_*")}
    estimate_for(run.path, 12, passes=2, batch=3)
    assert before == {path: path.stat().st_mtime_ns for path in run.path.rglob("frames_*")}
    saved = note_path(run.artifact("full"), 12).with_suffix(".safetensors")
    once = saved.read_bytes()
    note_path(run.artifact("full"), 12).unlink()
    estimate_for(run.path, 12, passes=2, batch=3)
    assert saved.read_bytes() == once


def test_the_trained_length_needs_no_estimate(run):
    """Asked for the clip's own length nothing is done."""
    before = sorted(run.path.rglob("*"))
    assert "of 8 frames, 3 passes of 4" in estimate_for(run.path, 8)[1]
    assert sorted(run.path.rglob("*")) == before


def test_statistics_that_do_not_belong_are_refused(run):
    """Damaged ones, those of another artifact, and those whose source's were estimated anew or are gone."""
    estimate_for(run.path, 12, passes=1, batch=2)
    base, full = (note_path(run.artifact(name), length) for name, length in (("base", 6), ("full", 12)))
    flip_byte(full.with_suffix(".safetensors"))
    with pytest.raises(InputError, match=r"frames_00000012.safetensors: is missing, or does not match its digest"):
        videos(run.path, 12)
    flip_byte(full.with_suffix(".safetensors"))
    note = json.loads(full.read_text())
    full.write_text(json.dumps({**note, "passes": 200}))
    with pytest.raises(InputError, match="does not match its own checksum"):
        videos(run.path, 12)
    full.write_text(json.dumps(checksummed({**note, "artifact": "0" * 64})))
    with pytest.raises(InputError, match="belongs to another artifact"):
        videos(run.path, 12)
    full.write_text(json.dumps(note))
    videos(run.path, 12)
    base.unlink()
    with pytest.raises(InputError, match="was estimated on other statistics of the source stage"):
        videos(run.path, 12)
    estimate_for(run.path, 12, passes=1, batch=2)
    videos(run.path, 12)


def test_damaged_statistics_are_estimated_anew(run):
    """The advice to run the step again helps."""
    estimate_for(run.path, 12, passes=1, batch=2)
    tensors = note_path(run.artifact("full"), 12).with_suffix(".safetensors")
    whole = tensors.read_bytes()
    flip_byte(tensors)
    estimate_for(run.path, 12, passes=1, batch=2)
    assert tensors.read_bytes() == whole


def test_statistics_go_along_with_an_artifact(run, tmp_path):
    """Estimated in a run, they are in the copies of sources as well: the last folder alone makes the same videos."""
    early = shutil.copytree(run.artifact("full"), tmp_path / "early")
    estimate_for(run.path, 12, passes=1, batch=2)
    expected, said = videos(run.path, 12)
    alone = tmp_path / "elsewhere"
    shutil.move(run.artifact("full"), alone)
    shutil.rmtree(run.path)
    found, also = videos(alone, 12)
    assert also == said
    for name, video in expected.items():
        assert torch.equal(found[name], video)
    before = {path: path.stat().st_mtime_ns for path in alone.rglob("*")}
    estimate_for(alone, 12, passes=1, batch=2)  # there is nothing left to do
    assert before == {path: path.stat().st_mtime_ns for path in alone.rglob("*")}
    estimate_for(early, 12, passes=1, batch=2)  # in an artifact alone they come out the same
    assert torch.equal(videos(early, 12)[0]["full"], expected["full"])


def test_statistics_of_an_earlier_stage_alone_go_along(run, tmp_path):
    """Estimated with ``--stage base``, they are in later stages' copies of it: these alone make the run's videos."""
    estimate_for(run.path, 6, stage="base", passes=1, batch=2)
    expected, said = videos(run.path, 12)
    assert said["base"] == "of 6 frames, 1 passes of 2"
    shutil.move(run.artifact("full"), tmp_path / "elsewhere")
    shutil.rmtree(run.path)
    found, also = videos(tmp_path / "elsewhere", 12)
    assert also == said
    assert all(torch.equal(found[name], video) for name, video in expected.items())


def test_statistics_made_useless_are_told(run, capsys):
    """Later ones whose source's are replaced, with the command that makes them anew and keeps the source's new ones."""
    estimate_for(run.path, 12, passes=1, batch=2)
    estimate_for(run.path, 20, passes=1, batch=2)
    estimate_for(run.path, 6, stage="base", passes=1, batch=2)  # as they are
    assert capsys.readouterr().err == ""
    estimate_for(run.path, 6, stage="base", passes=2, batch=3)
    command = f"python tools/statistics.py {run.path} --stage full --frames 12 --passes 2 --batch 3"
    assert capsys.readouterr().err == (
        f"note: full: its statistics of 12 frames are of no use now; made anew by {command}\n"
    )
    videos(run.path, 20)
    for path in (run.path, run.artifact("full")):
        with pytest.raises(InputError, match="was estimated on other statistics of the source stage"):
            videos(path, 12)
    estimate_for(run.path, 12, stage="full", passes=2, batch=3)
    assert capsys.readouterr().err == ""
    assert videos(run.path, 12)[1] == videos(run.artifact("full"), 12)[1]
    assert videos(run.path, 12)[1] == {"base": "of 6 frames, 2 passes of 3", "full": "of 12 frames, 2 passes of 3"}


def test_what_stands_on_useless_statistics_is_useless(tmp_path, capsys):
    """A line for each of the two stages above, of a run and of the last artifact alone."""
    graph = two_stages().graph
    top = upsampling_stage("top", "full", Clip(16, 16, 16))
    stages = [
        attrs.evolve(stage, clip=attrs.evolve(stage.clip, stride=2 * stage.clip.stride)) for stage in graph.stages
    ]
    graph = attrs.evolve(graph, clip=top.clip, stages=(*stages, top))
    data = use("SyntheticClips", clips=8, frames=18, size=16)
    experiment = attrs.evolve(two_stages(iterations=1), graph=graph, data=data)
    trained = run_of(experiment, tmp_path / "a run")
    estimate_for(trained.path, 24, passes=1, batch=2)
    alone = shutil.copytree(trained.artifact("top"), tmp_path / "alone")
    capsys.readouterr()
    for path, said in (trained.path, f"'{trained.path}'"), (alone, str(alone)):
        estimate_for(path, 6, stage="base", passes=2)
        assert capsys.readouterr().err.splitlines() == [
            f"note: {name}: its statistics of {length} frames are of no use now; made anew by "
            f"python tools/statistics.py {said} --stage {name} --frames {length} --passes 2"
            for name, length in (("full", 12), ("top", 24))
        ]
        estimate_for(path, 24, stage="top", passes=2)
        assert capsys.readouterr().err == ""
        assert set(videos(path, 24)[0]) == {"base", "full", "top"}


def test_a_copy_of_another_artifact_is_left_alone(run):
    """A later stage that was trained on an earlier training of its source has not that one's statistics put in."""
    manifest = run.artifact("full") / "source" / "manifest.json"
    manifest.write_text(json.dumps(checksummed({**json.loads(manifest.read_text()), "iterations": 5})))
    estimate_for(run.path, 6, stage="base", passes=1, batch=2)
    assert not (manifest.parent / "statistics").exists()


def test_statistics_where_frames_come_from_elsewhere(run):
    """Upsampling real frames, the later stage has those of its length, estimated on its source's."""
    estimate_for(run.path, 12, passes=1, batch=2)
    assert open_cascade(find(run.path), 12, after="base").statistics == {"full": "of 12 frames, 1 passes of 2"}


def test_estimated_statistics_are_the_moments_of_many_passes(run):
    """Against whole videos run by hand: the first norm's mean of a frame is the mean over all that is generated."""
    estimate_for(run.path, 6, stage="base", passes=40, batch=8)
    loaded = open_cascade(find(run.path, "base"), 6)
    generator = loaded.cascade.links[0].generator
    norm = generator.trunk.norm
    assert norm.frames == 6
    assert norm.timeline is None
    seen = []
    norm.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    torch.manual_seed(3)
    with torch.no_grad():
        generator(torch.randn(4000, 4), torch.randint(4, (4000,)), None, Span.whole(6))
    mean = seen[0].mean(dim=(0, 3, 4))
    deviation = seen[0].std(dim=(0, 3, 4))
    assert ((norm.running_mean - mean).abs() < 0.35 * deviation).all()


def test_held_statistics_are_those_of_the_timeline(run):
    """A longer video is what the generator makes when the clip's rows are written out at the longer length by hand."""
    trained = find(run.path, "base")
    expected = open_cascade(trained, 9).cascade
    by_hand = open_cascade(trained).cascade
    rows = Timeline(4, 9, 0).rows(0, 9)
    assert rows.tolist() == [0, 1, 2, 3, 3, 3, 3, 3, 3]
    for name, module in by_hand.links[0].generator.named_modules():
        if hasattr(module, "running_mean"):
            assert name
            module.running_mean, module.running_var = module.running_mean[rows], module.running_var[rows]
    noise = sample_noise(expected, 0, range(2), 1.0)
    y = torch.tensor([3, 1])
    torch.testing.assert_close(expected.videos(noise, y, 9)["base"], by_hand.videos(noise, y, 9)["base"])


def test_what_holds_nothing_trained_says_what_is_near(run, trained):
    """A stage's own folder, a clip store, a stage that is not done: each with what would do."""
    near = f"did you mean '{run.path}'"
    shutil.rmtree(run.artifact("full"))
    with pytest.raises(
        InputError, match=f"^{run.stage('full')}: holds no run, and is no artifact; allowed: .*; {near}"
    ):
        find(run.stage("full"))
    with pytest.raises(InputError, match=f"did you mean '{run.artifact('base')}'"):
        find(run.stage("base"))
    with pytest.raises(InputError, match=r"full/artifact: there is no finished artifact; allowed: --stage base$"):
        find(run.path)
    store = run.path / "store"
    store.mkdir()
    (store / "manifest.json").write_text('{"format": 1, "clips": []}')
    with pytest.raises(InputError, match=f"^{store}: holds no run, and is no artifact"):
        find(store)
    with pytest.raises(InputError, match="holds no run"):
        RunFolder(trained.artifact("full")).experiment()
