"""Training a classifier: what it leaves behind, that it resumes bit for bit, and over ranks."""

import functools
import hashlib
import json
import os
import signal
import warnings

import attrs
import pytest
import torch
from commands import ended, finished
from ranks import results
from safetensors.torch import load_file
from same_end import assert_same_end
from test_resume import Stopped, stop_at
from tiny_runs import copy_of, differing, flip_byte, last_checkpoint, metrics_of

from components.classifiers import VideoClassifier
from components.features import InDomainFeatures
from framework import ClassifierExperiment, ClassifierTraining, Clip, classifier_artifact, use
from framework.classifier_data import held_out_clips, open_labelled
from framework.classifier_model import ClassifierModel
from framework.generate import generate
from framework.measures import Compared, refuse_unmeasurable
from framework.request import Request
from framework.train_classifier import train_classifier
from registry import METRICS, InputError
from registry.cli import REQUEUE

TRAINING = ClassifierTraining(
    batch_size=4, iterations=6, workers=0, log_every=1, evaluate_every=3, checkpoint_every=2, held_out=0.3
)
TINY = ClassifierExperiment(
    name="shapes",
    data=use("SyntheticClips", clips=24, frames=5, size=8),
    clip=Clip(4, 8, 8),
    network=use("VideoClassifier", channels=2, multipliers=[1, 2]),
    training=TRAINING,
)


def changed(**training):
    return attrs.evolve(TINY, training=attrs.evolve(TRAINING, **training))


def run_of(experiment, folder, **options):
    with warnings.catch_warnings():
        # MMEngine tells the runners of a process apart by name and second; tests start several in one.
        warnings.filterwarnings("ignore", message=".*instance named of .* has been created")
        return train_classifier(experiment, folder, **options)


def same_end(run, reference):
    assert_same_end(run, reference, ("classifier",))


@pytest.fixture(scope="module")
def classified(tmp_path_factory):
    """A classifier trained for six iterations. Copy it before touching it."""
    return run_of(TINY, tmp_path_factory.mktemp("classified") / "run")


def test_what_a_run_leaves(classified):
    """Its description, a line of metrics per iteration, held-out accuracy where it is due, and checkpoints."""
    for name in ("spec.json", "data.json", "environment.json", "imports.json"):
        assert (classified.path / name).is_file()
    lines = metrics_of(classified, "classifier")
    assert [line["iteration"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert [line["iteration"] for line in lines if "held_out_accuracy" in line] == [3, 6]
    rates = [line["lr_network"] for line in lines]
    assert rates[0] == 1e-3
    assert rates[3] == pytest.approx(5e-4)  # half way down the cosine
    assert rates == sorted(rates, reverse=True)
    assert all(0 <= line["accuracy"] <= 1 and line["loss"] > 0 for line in lines)
    assert sorted(path.name for path in classified.checkpoints("classifier").glob("*.pt")) == [
        "iter_00000004.pt",
        "iter_00000006.pt",
    ]


@torch.no_grad()
def test_the_artifact_says_how_well_it_tells_clips_that_it_never_saw(classified):
    """Its figures are those of the weights in it, counted here clip by clip; digests are of its files."""
    artifact = classified.artifact("classifier")
    manifest = json.loads((artifact / "manifest.json").read_text())
    network = VideoClassifier(Clip(4, 8, 8), 4, channels=2, multipliers=(1, 2))
    network.load_state_dict(load_file(artifact / "network.safetensors"))
    network.eval()
    dataset = open_labelled(TINY)
    _, held_out = held_out_clips(dataset, 0.3, 4)
    right = {name: [0, 0] for name in dataset.classes}
    for clip in held_out:
        frames = torch.from_numpy(dataset.window(clip, 0, 4)).permute(0, 3, 1, 2) / 127.5 - 1
        guess = int(network(frames[None])[1].argmax())
        right[dataset.classes[dataset.label(clip)]][0] += guess == dataset.label(clip)
        right[dataset.classes[dataset.label(clip)]][1] += 1
    said = manifest["held_out"]
    assert said["per_class"] == right
    assert said["clips"] == len(held_out) > 4
    assert said["accuracy"] == sum(one for one, _ in right.values()) / len(held_out)
    assert manifest["data"] == dataset.fingerprint
    assert manifest["digests"] == {
        name: hashlib.sha256((artifact / name).read_bytes()).hexdigest()
        for name in ("network.safetensors", "spec.json")
    }
    features = InDomainFeatures(path=classified.path).identity()
    assert features["trained_on"]["store"] == dataset.fingerprint
    assert metrics_of(classified, "classifier")[-1]["held_out_accuracy"] == pytest.approx(said["accuracy"])


def test_clips_held_out_are_never_read_for_training(tmp_path, monkeypatch):
    """In six iterations of all the rest."""
    dataset_class = type(open_labelled(TINY))
    strided, read = dataset_class.strided, set()

    def noting(self, clip, *args, **kwargs):
        read.add(clip)
        return strided(self, clip, *args, **kwargs)

    monkeypatch.setattr(dataset_class, "strided", noting)
    run_of(TINY, tmp_path / "run")
    learnt, _ = held_out_clips(open_labelled(TINY), 0.3, 4)
    assert read == set(learnt)


def test_looking_at_held_out_clips_leaves_the_training_as_it_is(classified, tmp_path):
    """Whenever it is done, and with loader processes or without: every weight and statistic is the same."""
    run = run_of(changed(evaluate_every=1, workers=1), tmp_path / "run")
    one, other = (last_checkpoint(each, "classifier") for each in (run, classified))
    del one["metrics"], other["metrics"]
    assert differing(one, other) == []


@pytest.mark.parametrize("call", [2, 4, 6])
def test_stopped_in_a_step(classified, tmp_path, monkeypatch, call):
    """Before a checkpoint, between two, in the last step: the same call comes to the same end, bit for bit."""
    with monkeypatch.context() as patch:
        stop_at(patch, ClassifierModel, "train_step", call)
        with pytest.raises(Stopped):
            run_of(TINY, tmp_path / "run")
    torch.manual_seed(call)
    same_end(run_of(TINY, tmp_path / "run"), classified)


@pytest.mark.parametrize("call", [1, 2])
def test_stopped_while_the_artifact_is_written(classified, tmp_path, monkeypatch, call):
    """Before its spec or its manifest is there, it is absent, and is made again."""
    with monkeypatch.context() as patch:
        stop_at(patch, classifier_artifact, "write_whole", call)
        with pytest.raises(Stopped):
            run_of(TINY, tmp_path / "run")
    assert not (tmp_path / "run/classifier/artifact").exists()
    same_end(run_of(TINY, tmp_path / "run"), classified)


def test_a_damaged_checkpoint_is_left_aside(classified, tmp_path, capsys):
    """It is named, and the one before leads to the same end."""
    run = copy_of(classified, tmp_path / "run")
    for path in run.artifact("classifier").iterdir():
        path.unlink()
    run.artifact("classifier").rmdir()
    flip_byte(run.checkpoints("classifier") / "iter_00000006.pt", 1000)
    run_of(TINY, run.path)
    said = capsys.readouterr()
    assert "iter_00000006.pt: damaged checkpoint left aside" in said.err
    assert "classifier: carrying on at iteration 4" in said.out
    same_end(run, classified)


def test_a_finished_run_is_not_trained_again(classified, tmp_path, capsys):
    """It says how well it does; damaged metrics are left out; a damaged artifact is an error that names the file."""
    run = copy_of(classified, tmp_path / "run")
    run_of(TINY, run.path)
    out = capsys.readouterr().out
    assert "6 iterations, tells" in out
    assert f"InDomainFeatures(path='{run.path}')" in out
    same_end(run, classified)
    whole = run.metrics("classifier").read_text()
    run.metrics("classifier").write_text(f"nonsense\n{whole}")
    run_of(TINY, run.path)
    assert run.metrics("classifier").read_text() == whole
    assert "metrics.jsonl, line 1: damaged, left out" in capsys.readouterr().err
    flip_byte(run.artifact("classifier") / "network.safetensors")
    with pytest.raises(InputError, match=r"network.safetensors does not match the digest"):
        run_of(TINY, run.path)


def test_a_run_of_another_spec_or_of_other_data(classified, tmp_path):
    """Is not gone on with, but for what stands beside the result; --restart puts it aside."""
    run = copy_of(classified, tmp_path / "run")
    run_of(changed(log_every=3, evaluate_every=2), run.path)
    with pytest.raises(InputError, match=r"holds a run of another spec \(training.lr is 0.001 there, 0.01 here\)"):
        run_of(changed(lr=0.01), run.path)
    other = attrs.evolve(TINY, data=use("SyntheticClips", clips=24, frames=5, size=8, seed=1))
    with pytest.raises(InputError, match=r"holds a run of another spec \(data.options.seed"):
        run_of(other, run.path)
    run_of(changed(iterations=1), run.path, restart=True)
    assert (tmp_path / "run.old-1/classifier/artifact").is_dir()
    assert len(metrics_of(run, "classifier")) == 1


def test_it_is_no_run_of_a_cascade(classified, tmp_path):
    """Nothing is generated from it."""
    with pytest.raises(InputError, match="is the spec of a classifier, not of a cascade"):
        generate(classified.path, Request(count=1), tmp_path / "out")


def test_bad_data_writes_nothing(tmp_path):
    """Neither folder nor file."""
    with pytest.raises(InputError, match=r"^data .*: clip is 16x16/4 @1, but the clips are 8x8"):
        run_of(attrs.evolve(TINY, clip=Clip(4, 16, 16)), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_numbers_that_are_not_finite_end_it(tmp_path):
    """In one line, with what would help; no checkpoint holds them."""
    with pytest.raises(InputError) as error:
        run_of(changed(lr=1e30, checkpoint_every=1), tmp_path / "run")
    line = str(error.value)
    assert line.startswith("classifier: training diverged by iteration ")
    assert line.endswith(
        "earlier checkpoints stay; allowed: a lower learning rate (training.lr) in another --work-dir or with --restart"
    )


def test_it_learns(tmp_path):
    """Shapes that it never saw, from a few dozen drawn ones."""
    experiment = ClassifierExperiment(
        name="shapes",
        data=use("SyntheticClips", clips=128, frames=4, size=16),
        clip=Clip(3, 16, 16),
        network=use("VideoClassifier", channels=8, multipliers=[1, 2]),
        training=ClassifierTraining(batch_size=16, iterations=80, lr=5e-3, workers=0),
    )
    run = run_of(experiment, tmp_path / "run")
    identity = InDomainFeatures(path=run.path).identity()
    assert identity["held_out_accuracy"] > 0.8  # chance is 0.25
    assert identity["held_out_clips"] >= 8


def ended_by(number, call):
    """Let a signal arrive in the ``call``-th step."""
    step, calls = ClassifierModel.train_step, []

    def signalled(*args, **kwargs):
        calls.append(1)
        if len(calls) == call:
            os.kill(os.getpid(), number)
        return step(*args, **kwargs)

    ClassifierModel.train_step = signalled


def test_a_signal_stops_it_with_a_checkpoint(classified, tmp_path):
    """The command ends with code 75 after that iteration, and started again comes to the same end."""
    [process] = ended(TINY, tmp_path / "run", tmp_path / "one", ended_by, signal.SIGTERM, 3, stage=None)
    assert process.wait() == REQUEUE
    assert "stopped by SIGTERM at iteration 3 of classifier; the same command carries on" in process.err
    run = finished(TINY, tmp_path / "run", tmp_path / "two", stage=None)
    same_end(run, classified)


def trained_by_ranks(folder):
    # A gradient that is nothing but rounding would be whole steps of Adam's with its own tiny eps.
    torch.optim.AdamW = functools.partial(torch.optim.AdamW, eps=1e-4)
    return run_of(TINY, folder).path


def test_two_ranks_train_what_one_does(tmp_path):
    """Weights, statistics and metrics, but for rounding; a batch that they cannot share is refused."""
    runs = [results(trained_by_ranks, world, tmp_path / f"ranks{world}", tmp_path / f"run{world}") for world in (1, 2)]
    one, other = (torch.load(run[0] / "classifier/checkpoints/iter_00000006.pt") for run in runs)
    torch.testing.assert_close(one["model"], other["model"], rtol=1e-3, atol=1e-5)
    losses = [
        [json.loads(line)["loss"] for line in (run[0] / "classifier/metrics.jsonl").read_text().splitlines()]
        for run in runs
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


def refused_by_ranks(folder):
    with pytest.raises(InputError) as error:
        run_of(changed(batch_size=5), folder)
    return str(error.value)


def test_batches_that_ranks_cannot_share(tmp_path):
    """One line, in all of them, before anything is written."""
    for said in results(refused_by_ranks, 2, tmp_path / "ranks", tmp_path / "run"):
        assert said.startswith("training.batch_size: 5 clips cannot be shared evenly by 2 processes")
    assert not (tmp_path / "run").exists()


def test_metrics_refuse_videos_of_another_stride(classified):
    """A classifier knows the stride that it was trained on; of one that fits, too few videos are the next thing."""
    features, metric = InDomainFeatures(path=classified.path), METRICS.build(use("FID"), classes=None, window=4, time=1)
    for stride, said in ((2, "^features: .*trained on clips of stride 1, the videos have stride 2"), (1, "^count: ")):
        with pytest.raises(InputError, match=said):
            refuse_unmeasurable(metric, features, Compared(frames=4, count=2, stride=stride, time=None))
