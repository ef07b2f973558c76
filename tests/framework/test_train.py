"""Whole experiments: the order of stages, what is skipped and refused, and every kind of part in training."""

import os
import shutil
import subprocess
import sys

import attrs
import numpy as np
import pytest
import torch
from mmengine.logging import MessageHub
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny_runs import (
    DISCRIMINATOR,
    GENERATOR,
    copy_of,
    flip_byte,
    last_checkpoint,
    load_latest,
    metrics_of,
    run_of,
    two_stages,
    upsampling_stage,
)

from framework import Clip, use
from framework import train as module
from framework.adversarial_stage import AdversarialStage
from framework.artifact import load_cascade, manifest_digest, read_manifest
from framework.build import build_generator
from framework.checkpoint import first_not_finite
from framework.randomness import reseed
from framework.trained import find
from registry import InputError


def with_stages(experiment, *stages, **changes):
    """The experiment with other stages in its graph."""
    return attrs.evolve(experiment, graph=attrs.evolve(experiment.graph, stages=stages, **changes))


def generator_with(**options):
    return {"generator": use("UpsamplingGenerator", **{**GENERATOR, **options})}


def assert_trained(run, experiment) -> None:
    """Every stage's weights are finite and not those it began with; its artifact says how long it trained."""
    for stage in experiment.graph.stages:
        training = experiment.training_of(stage)
        saved = last_checkpoint(run, stage.name)
        assert saved["iteration"] == training.iterations
        steps = {
            name: {int(s["step"]) for s in saved["optimizers"][name]["state"].values()} for name in saved["optimizers"]
        }
        assert steps == {
            "generator": {training.iterations},
            "discriminator": {training.iterations * training.discriminator_steps},
        }
        assert all(value.isfinite().all() for value in saved["model"].values())
        reseed(experiment.seed, stage.name, "weights")
        for name, value in build_generator(experiment.graph, stage).named_parameters():
            assert not torch.equal(value, saved["model"][f"generator.{name}"]), name
        assert read_manifest(run.artifact(stage.name)).iterations == training.iterations
        assert [line["iteration"] for line in metrics_of(run, stage.name)] == list(range(1, training.iterations + 1))


def test_stages_train_in_order_of_their_sources(tmp_path, capsys):
    """Declared the other way round, the base still comes first, and each stage once."""
    experiment = two_stages(iterations=2)
    experiment = with_stages(experiment, *reversed(experiment.graph.stages))
    run = run_of(experiment, tmp_path / "run")
    assert_trained(run, experiment)
    said = capsys.readouterr().out
    assert said.index("base: stage 1 of 2, 4x4/4 @2") < said.index("full: stage 2 of 2, 8x8/8 @1")
    assert f"generate from it: python tools/generate.py {run.path}" in said


def test_kernels_are_prepared_before_the_first_stage(tmp_path, monkeypatch):
    """As cuBLAS looks once in a process: where a later stage alone is deterministic, too; and not where none is."""
    seen = []
    monkeypatch.setattr(module, "train_stage", lambda *_: seen.append(os.environ.get("CUBLAS_WORKSPACE_CONFIG")))
    monkeypatch.setattr(module, "_summary", lambda *_: None)
    experiment = two_stages(iterations=1)
    for number, wanted in enumerate((False, True)):
        monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
        base, full = experiment.graph.stages
        full = attrs.evolve(full, training={**full.training, "deterministic": wanted})
        module.train(with_stages(experiment, base, full), tmp_path / str(number))
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    assert seen == [None, None, ":4096:8", ":4096:8"]


def test_done_stages_are_not_trained_again(trained, monkeypatch, capsys):
    """The same command on a finished run says what is done and trains nothing."""
    monkeypatch.setattr(module, "train_stage", None)

    def times():
        return {path: path.stat().st_mtime_ns for path in trained.path.rglob("*") if path.name != "environment.json"}

    before = times()
    run_of(two_stages(), trained.path)
    assert times() == before
    said = capsys.readouterr().out
    assert "base: done (4 iterations)" in said
    assert "full: done (4 iterations)" in said


@pytest.mark.parametrize("only", [None, "full"])
def test_a_foreign_artifact_does_not_count_as_done(trained, tmp_path, only):
    """Neither is a stage skipped nor the next one trained because another run's artifact lies in its place."""
    other = run_of(attrs.evolve(two_stages(), seed=9), tmp_path / "other", only="base")
    run = copy_of(trained, tmp_path / "run")
    shutil.rmtree(run.artifact("base"))
    shutil.copytree(other.artifact("base"), run.artifact("base"))
    shutil.rmtree(run.stage("full"))
    with pytest.raises(InputError, match=f"^{run.artifact('base')}: was trained by another spec .seed is 9 there"):
        run_of(two_stages(), run.path, only=only)
    assert not run.artifact("full").exists()


def test_divergence_stops_the_training(tmp_path):
    """Absurd learning rates end in one line that says where, with no artifact and no spoilt checkpoint."""
    rates = {"generator_lr": 1e38, "discriminator_lr": 1e38}
    with pytest.raises(InputError, match=r"^base: training diverged by iteration \d+: .* is not finite") as caught:
        run_of(two_stages(iterations=20, log_every=100, checkpoint_every=1, **rates), tmp_path / "run")
    assert "lower learning rates" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run/base/artifact").exists()
    saved, warnings = load_latest(tmp_path / "run/base/checkpoints")
    assert warnings == []
    assert saved is None or first_not_finite(saved) is None


@pytest.mark.parametrize(
    ("intervals", "found", "kept"),
    [
        ({"log_every": 1, "checkpoint_every": 2}, "iteration 3: loss_G", 2),
        ({"log_every": 100, "checkpoint_every": 2}, "iteration 4: metrics.sums.loss_G", 2),
        ({"log_every": 4, "checkpoint_every": 4}, "iteration 4: loss_G", None),
    ],
)
def test_a_loss_that_is_not_finite_is_never_saved(tmp_path, monkeypatch, intervals, found, kept):
    """One bad loss at iteration 3, the weights still good, is found at the next line or checkpoint, before either."""
    original, calls = AdversarialStage.train_step, []

    def spoilt(*args, **kwargs):
        log = original(*args, **kwargs)
        calls.append(1)
        return {**log, "loss_G": log["loss_G"] * float("nan")} if len(calls) == 3 else log

    monkeypatch.setattr(AdversarialStage, "train_step", spoilt)
    with pytest.raises(InputError, match=f"diverged by {found} is not finite"):
        run_of(two_stages(iterations=8, **intervals), tmp_path / "run")
    saved, _ = load_latest(tmp_path / "run/base/checkpoints")
    assert (saved and saved["iteration"]) == kept
    metrics = tmp_path / "run/base/metrics.jsonl"
    assert not metrics.exists() or "NaN" not in metrics.read_text()


def test_weights_that_are_not_finite_are_never_saved(tmp_path, monkeypatch):
    """The update after the last good losses spoils the weights: that state does not become the newest checkpoint."""
    original, calls = AdversarialStage.train_step, []

    def spoilt(stage, *args, **kwargs):
        log = original(stage, *args, **kwargs)
        calls.append(1)
        if len(calls) == 4:
            next(stage.generator.parameters()).data.view(-1)[0] = float("inf")
        return log

    monkeypatch.setattr(AdversarialStage, "train_step", spoilt)
    with pytest.raises(InputError, match=r"^base: training diverged by iteration 4: model\.generator\."):
        run_of(two_stages(), tmp_path / "run")
    assert load_latest(tmp_path / "run/base/checkpoints")[0]["iteration"] == 2


def test_mmengine_keeps_no_history(tmp_path, monkeypatch):
    """Losses are brought from the device for the log alone: MMEngine's own hook, which does it always, is off."""
    kept = []
    monkeypatch.setattr(MessageHub, "update_scalar", lambda hub, name, *rest: kept.append(name))
    run_of(two_stages(iterations=2), tmp_path / "run", only="base")
    assert kept == []


def test_a_folder_is_free_after_training(tmp_path, monkeypatch):
    """However training ended in this process, another one can take the run up."""
    monkeypatch.setattr(AdversarialStage, "train_step", lambda *args, **kwargs: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run_of(two_stages(), tmp_path / "run")
    script = "import fcntl, sys; fcntl.lockf(open(sys.argv[1], 'a'), fcntl.LOCK_EX | fcntl.LOCK_NB)"
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "run/run.lock")], check=True)


def test_one_stage_alone(trained, tmp_path):
    """A stage trained alone leaves the later ones; trained after it, they equal those of a run in one go."""
    run = run_of(two_stages(), tmp_path / "run", only="base")
    assert not run.stage("full").exists()
    run = run_of(two_stages(), tmp_path / "run", only="full")
    assert manifest_digest(run.artifact("full")) == manifest_digest(trained.artifact("full"))


def test_a_stage_without_its_sources_is_refused(tmp_path):
    """The stage cannot train before those it stands on, nor can one that is not there; nothing is written."""
    with pytest.raises(InputError, match="--stage: 'full' stands on base, not trained in"):
        run_of(two_stages(), tmp_path / "run", only="full")
    with pytest.raises(InputError, match=r"no stage is called 'ful'.*did you mean 'full'"):
        run_of(two_stages(), tmp_path / "run", only="ful")
    assert list(tmp_path.iterdir()) == []


def test_restarting_a_later_stage_alone_is_refused(trained, tmp_path):
    """--restart would put away the very sources that the stage needs: refused with the run still in place."""
    run = copy_of(trained, tmp_path / "run")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match="'full' stands on base"):
        run_of(two_stages(), run.path, only="full", restart=True)
    assert sorted(tmp_path.rglob("*")) == before


def test_restart(trained, tmp_path, capsys):
    """Another spec is refused in a run's folder; with restart the run is put aside, whole, and one of it begun."""
    run = copy_of(trained, tmp_path / "run")
    other = two_stages(iterations=1)
    with pytest.raises(InputError, match=r"training\.iterations is 4 there, 1 here"):
        run_of(other, run.path)
    run_of(other, run.path, restart=True)
    assert_trained(run, other)
    assert f"the earlier run is now in {tmp_path}/run.old-1" in capsys.readouterr().out
    aside = manifest_digest(tmp_path / "run.old-1" / "full" / "artifact")
    assert aside == manifest_digest(trained.artifact("full"))


def test_joint_training_is_refused(tmp_path):
    """Declared, it is said plainly not to be built; nothing is written."""
    with pytest.raises(InputError, match=r"graph.stages.full.joint: joint training \(appendix H\) is not built yet"):
        run_of(two_stages(full={"joint": True}), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_data_that_does_not_fit_is_refused(tmp_path):
    """Clips of another size and too few frames are refused before anything is written."""
    experiment = attrs.evolve(two_stages(), data=use("SyntheticClips", clips=8, frames=7, size=16))
    with pytest.raises(InputError) as caught:
        run_of(experiment, tmp_path / "run")
    assert "the clips are 16x16" in str(caught.value)
    assert "8 of 8 clips have fewer" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_branching_graph(tmp_path):
    """One base, two ends of different kinds: each stands on the same base artifact, and generates from it."""
    experiment = two_stages(iterations=2)
    base = experiment.graph["base"]
    ends = [
        upsampling_stage(name, "base", Clip(8, 8, 8), window=window, **generator_with(temporal_layer=layer))
        for name, window, layer in (("left", 4, "separable"), ("right", None, "convgru"))
    ]
    experiment = with_stages(experiment, ends[0], base, ends[1])
    run = run_of(experiment, tmp_path / "run")
    assert_trained(run, experiment)
    sources = {name: read_manifest(run.artifact(name)).source for name in ("left", "right")}
    assert sources == dict.fromkeys(sources, manifest_digest(run.artifact("base")))
    for name in sources:
        cascade = load_cascade(run.artifacts(experiment), experiment, name)
        assert list(cascade.videos(cascade.noise(2), torch.tensor([0, 1]))) == ["base", name]


def test_three_stages_unconditional(tmp_path):
    """Three stages without classes: the last one trains on x̂_l that went through both before it."""
    experiment = two_stages(classes=None, iterations=2)
    stages = [
        experiment.graph["base"],
        upsampling_stage("mid", "base", Clip(8, 8, 8, stride=2)),
        upsampling_stage("full", "mid", Clip(16, 16, 16)),
    ]
    stages[0] = attrs.evolve(stages[0], clip=Clip(4, 4, 4, stride=4))
    experiment = with_stages(experiment, *stages, clip=Clip(16, 16, 16))
    experiment = attrs.evolve(experiment, data=use("SyntheticClips", clips=8, frames=16, size=16))
    run = run_of(experiment, tmp_path / "run")
    assert_trained(run, experiment)
    cascade = load_cascade(run.artifacts(experiment), experiment, "full")
    videos = cascade.videos(cascade.noise(2), None)
    assert [tuple(video.shape) for video in videos.values()] == [
        (2, 4, 3, 4, 4),
        (2, 8, 3, 8, 8),
        (2, 16, 3, 16, 16),
    ]
    assert read_manifest(run.artifact("full")).classes is None


PARTS = {
    "non-saturating loss, area view": {
        "loss": use("NonSaturating"),
        "view": use("AreaView", time=2, space=2),
    },
    "summed frames, composed view": {
        "loss": use("GeometricHinge", sum_frames=True),
        "view": use("Compose", views=[use("NearestView", time=2), use("AntialiasedView", space=2)]),
    },
    "convgru": generator_with(temporal_layer="convgru"),
    "resnet3d and attention": generator_with(temporal_layer="resnet3d", attention=[8]),
    "attention over time": {
        "window": None,
        **generator_with(attention=[8], attention_axes=["time", "width"]),
        "discriminators": {"matching": use("MatchingDiscriminator", **DISCRIMINATOR, attention=[4])},
    },
    "a timm backbone": {
        "discriminators": {
            "spatial": use("TimmDiscriminator", backbone="test_convnext", frames=2),
            "temporal": use("TemporalDiscriminator", **DISCRIMINATOR, temporal_pooling=True),
        }
    },
    "a training of its own": {
        "training": {"iterations": 3, "discriminator_steps": 1, "batch_size": 3, "betas": [0.5, 0.9]},
    },
}


@pytest.mark.parametrize("full", PARTS.values(), ids=PARTS)
def test_every_kind_of_part_trains(tmp_path, full):
    """Swapped into the second stage, the part trains to a finished artifact."""
    experiment = two_stages(full=full, iterations=2)
    run = run_of(experiment, tmp_path / "run")
    assert_trained(run, experiment)


def test_pictures_on_the_way_show_the_same_noise(trained):
    """Each picture has a row per stage and sample; the frozen source's rows stay, those of the stage change."""
    assert {path.name for path in trained.samples("full").glob("*.mp4")} == {"iter_00000002.mp4", "iter_00000004.mp4"}
    paths = sorted(trained.samples("full").glob("*.png"))
    assert [path.name for path in paths] == ["iter_00000002.png", "iter_00000004.png"]
    factor = 8  # the least that makes 4 moments of 8 pixels 4 * 64 pixels wide
    early, late = (np.asarray(Image.open(path))[::factor, ::factor] for path in paths)
    assert early.shape == late.shape == (3 * 17 + 2 * 4, 4 * 8 + 3, 3)
    for sample in range(3):
        top = sample * (17 + 4)
        assert (early[top : top + 8] == late[top : top + 8]).all()
        assert (early[top + 9 : top + 17] != late[top + 9 : top + 17]).any()


def test_tensorboard_has_the_metrics(trained):
    """The scalars are those of metrics.jsonl, and the pictures are there."""
    events = EventAccumulator(str(trained.tensorboard("full"))).Reload()
    for name, value in metrics_of(trained, "full")[-1].items():
        if name != "iteration":
            assert (events.Scalars(name)[-1].step, events.Scalars(name)[-1].value) == (4, pytest.approx(value))
    assert [image.step for image in events.Images("samples")] == [2, 4]


@pytest.mark.parametrize("finished", [True, False])
def test_damaged_metrics_of_a_stage_without_iterations_left(trained, tmp_path, capsys, finished):
    """Training again leaves the line out, says so and keeps the file as it was, where nothing is left to iterate."""
    run = copy_of(trained, tmp_path / "run")
    path, whole = run.metrics("full"), trained.metrics("full").read_text()
    if not finished:
        shutil.rmtree(run.artifact("full"))
    path.write_text("nonsense\n" + whole)
    run_of(two_stages(), run.path)
    assert f"note: {path}, line 1: damaged, left out; the file as it was is now" in capsys.readouterr().err
    assert path.read_text() == whole
    assert path.with_name("metrics.jsonl.damaged").read_text() == "nonsense\n" + whole


@pytest.mark.parametrize("file", ["generator.safetensors", "manifest.json"])
def test_a_damaged_artifact_is_made_anew_as_its_error_says(trained, tmp_path, file):
    """Without its folder the same training makes the very same from the last checkpoint; a later stage still fits."""
    run = copy_of(trained, tmp_path / "run")
    folder = run.artifact("base")
    (folder / file).write_bytes(b"{]")
    with pytest.raises(InputError, match=rf"/{file}: .*; allowed: the file as it was, or {folder} deleted: the same"):
        run_of(two_stages(), run.path)
    with pytest.raises(InputError, match=f"{folder} deleted: the same training makes it anew"):
        find(run.path)
    shutil.rmtree(folder)
    run_of(two_stages(), run.path)
    assert find(run.path).manifests == find(trained.path).manifests
    assert metrics_of(run, "base") == metrics_of(trained, "base")


def test_what_cannot_be_made_anew_is_not_promised(trained, tmp_path):
    """Neither of an artifact away from its run nor of one whose run has no checkpoint left."""
    run = copy_of(trained, tmp_path / "run")
    shutil.copytree(run.artifact("base"), tmp_path / "alone")
    shutil.rmtree(run.checkpoints("base"))
    for folder in (tmp_path / "alone", run.artifact("base")):
        flip_byte(folder / "generator.safetensors")
        with pytest.raises(InputError, match=r"generator\.safetensors: does not match .*: damaged or changed$"):
            read_manifest(folder)
