"""The same command again takes a run up where it stands, bit for bit as if it had never stopped."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import attrs
import pytest
import torch
from same_end import assert_same_end
from tiny_runs import copy_of, differing, flip_byte, last_checkpoint, metrics_of, run_of, two_stages

from framework import artifact as artifact_module
from framework import checkpoint as checkpoint_module
from framework import dump
from framework import finish_stage as finish_stage_module
from framework.adversarial_stage import AdversarialStage

ROOT = Path(__file__).parents[2]
STAGES = ("base", "full")


class Stopped(Exception):  # noqa: N818  # not an error of the program: the power went out
    """The run ends here."""


def stop_at(monkeypatch, target, name: str, call: int, *, halfway=None) -> None:
    """Let the ``call``-th call of ``target.name``, counted from 1, end the run, perhaps having begun its work."""
    original, calls = getattr(target, name), []

    def stopping(*args, **kwargs):
        calls.append(args)
        if len(calls) == call:
            if halfway:
                halfway(*args)
            raise Stopped
        return original(*args, **kwargs)

    monkeypatch.setattr(target, name, stopping)


def interrupted(experiment, folder, monkeypatch, *stop, **options):
    """A run that was stopped once and then taken up by the same call."""
    with monkeypatch.context() as patch:
        stop_at(patch, *stop, **options)
        with pytest.raises(Stopped):
            run_of(experiment, folder)
    return run_of(experiment, folder)


def test_a_checkpoint_holds_what_it_should(trained):
    """Weights, statistics, singular vectors and both optimizers are in it: the comparisons below see them all."""
    saved = last_checkpoint(trained, "full")
    names = set(saved["model"])
    assert {name.partition(".")[0] for name in names} == {"generator", "discriminators"}
    for ending in ("running_mean", "running_var", "batches_tracked", "u", "v", "original", "bias"):
        assert any(name.rpartition(".")[2] == ending for name in names), ending
    assert saved["iteration"] == 4
    for name, steps in (("generator", 4), ("discriminator", 8)):
        assert {int(state["step"]) for state in saved["optimizers"][name]["state"].values()} == {steps}


@pytest.mark.parametrize("call", [4, 8])
def test_stopped_in_a_step(trained, tmp_path, monkeypatch, call):
    """Between checkpoints of the first stage; in the very last step. Whatever torch's generator was at before."""
    torch.manual_seed(1234 + call)
    assert_same_end(
        interrupted(two_stages(), tmp_path / "run", monkeypatch, AdversarialStage, "train_step", call), trained
    )


def test_stopped_while_a_checkpoint_is_written(trained, tmp_path, monkeypatch):
    """Half a checkpoint file is as good as none."""

    def write_half(state, file):
        file.write(b"half a checkpoint")

    stop = (checkpoint_module.torch, "save", 4)
    assert_same_end(interrupted(two_stages(), tmp_path / "run", monkeypatch, *stop, halfway=write_half), trained)


def test_stopped_before_a_checkpoints_manifest(trained, tmp_path, monkeypatch):
    """A checkpoint without its manifest is not used, nor in the way."""
    stop = (checkpoint_module, "write_whole", 2)
    assert_same_end(interrupted(two_stages(), tmp_path / "run", monkeypatch, *stop), trained)


def test_stopped_before_the_statistics(trained, tmp_path, monkeypatch):
    """A stage whose iterations are done goes on with its statistics and its artifact."""
    stop = (finish_stage_module, "estimate_statistics", 2)
    assert_same_end(interrupted(two_stages(), tmp_path / "run", monkeypatch, *stop), trained)


@pytest.mark.parametrize("call", [1, 2])
def test_stopped_while_an_artifact_is_written(trained, tmp_path, monkeypatch, call):
    """Before its spec or its manifest is there, an artifact is absent, and is made again."""
    stop = (artifact_module, "write_whole", call)
    with monkeypatch.context() as patch:
        stop_at(patch, *stop)
        with pytest.raises(Stopped):
            run_of(two_stages(), tmp_path / "run")
    assert not (tmp_path / "run/base/artifact").exists()
    assert_same_end(run_of(two_stages(), tmp_path / "run"), trained)


def test_killed_in_another_process(trained, tmp_path):
    """A process that is killed outright leaves a folder that this process takes up to the same end."""
    (tmp_path / "spec.json").write_text(dump(two_stages()))
    script = """
import os, signal, sys
from framework.adversarial_stage import AdversarialStage
from framework.spec_file import load_spec
from framework.train import train
step, calls = AdversarialStage.train_step, []
def killing(*args, **kwargs):
    calls.append(1)
    if len(calls) == 8:
        os.kill(os.getpid(), signal.SIGKILL)
    return step(*args, **kwargs)
AdversarialStage.train_step = killing
train(load_spec(sys.argv[1])[0], sys.argv[2])
"""
    command = [sys.executable, "-c", script, str(tmp_path / "spec.json"), str(tmp_path / "run")]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False)
    assert done.returncode == -signal.SIGKILL
    assert_same_end(run_of(two_stages(), tmp_path / "run"), trained)


def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(trained, tmp_path, monkeypatch, capsys):
    """The run says which checkpoint it left aside, and comes to the same end from the one before."""
    run = copy_of(trained, tmp_path / "run")
    shutil.rmtree(run.artifact("full"))
    flip_byte(run.checkpoints("full") / "iter_00000004.pt", 1000)
    run_of(two_stages(), run.path)
    said = capsys.readouterr()
    assert f"note: {run.checkpoints('full')}/iter_00000004.pt: damaged" in said.err
    assert "full: carrying on at iteration 2" in said.out
    assert_same_end(run, trained)


def test_means_in_the_metrics_span_a_stop(tmp_path, monkeypatch):
    """Lines are means over all their iterations also where a run was stopped among them; each is there once."""
    experiment = two_stages(iterations=7, log_every=3, checkpoint_every=2)
    whole = run_of(experiment, tmp_path / "whole")
    run = interrupted(experiment, tmp_path / "run", monkeypatch, AdversarialStage, "train_step", 12)
    assert_same_end(run, whole)
    each = metrics_of(run_of(two_stages(iterations=7), tmp_path / "each"), "full")
    lines = metrics_of(run, "full")
    assert [line["iteration"] for line in lines] == [3, 6, 7]
    for line, part in zip(lines, (each[:3], each[3:6], each[6:]), strict=True):
        assert line["loss_D"] == pytest.approx(sum(one["loss_D"] for one in part) / len(part), rel=1e-5)


@pytest.mark.parametrize(
    "beside",
    [
        {"sample_every": 1, "samples": 5, "workers": 1},
        {"sample_every": 100, "samples": 1, "log_every": 4, "checkpoint_every": 100},
    ],
)
def test_what_stands_beside_the_training_does_not_change_it(trained, tmp_path, beside):
    """Pictures, log lines, checkpoints and loader processes, however many, leave every weight as it would be."""
    run = run_of(two_stages(**beside), tmp_path / "run")
    for stage in STAGES:
        one, other = (last_checkpoint(each, stage) for each in (run, trained))
        del one["metrics"], other["metrics"]  # of other lines
        assert differing(one, other) == []
        one, other = (each.artifact(stage) / "generator.safetensors" for each in (run, trained))
        assert one.read_bytes() == other.read_bytes()


def test_other_seeds_are_other_runs(trained, tmp_path):
    """Weights follow from the experiment's seed."""
    run = run_of(attrs.evolve(two_stages(), seed=1), tmp_path / "run")
    assert differing(last_checkpoint(run, "base")["model"], last_checkpoint(trained, "base")["model"])


def test_a_line_cut_short_is_made_again(trained, tmp_path, monkeypatch, capsys):
    """What a run wrote to its metrics after its last checkpoint, whole or not, is replaced, and the half line told."""
    metrics = stopped_with_three_lines(tmp_path / "run", monkeypatch)
    metrics.write_text(metrics.read_text() + '{"iteration": 4, "los')
    assert_same_end(run_of(two_stages(), tmp_path / "run"), trained)
    assert f"note: {metrics}, line 4: cut short, left out\n" in capsys.readouterr().err


def test_a_damaged_line_does_not_end_a_run(trained, tmp_path, monkeypatch, capsys):
    """It is named and left out, with the file as it was kept; all else is as in a run that nothing happened to."""
    metrics = stopped_with_three_lines(tmp_path / "run", monkeypatch)
    metrics.write_text(metrics.read_text().replace('"', "#", 1))
    damaged = metrics.read_bytes()
    run = run_of(two_stages(), tmp_path / "run")
    assert f"note: {metrics}, line 1: damaged, left out; " in capsys.readouterr().err
    assert metrics.with_name("metrics.jsonl.damaged").read_bytes() == damaged
    assert metrics_of(run, "base") == metrics_of(trained, "base")[1:]
    for stage in STAGES:
        assert differing(last_checkpoint(run, stage), last_checkpoint(trained, stage)) == []


def stopped_with_three_lines(folder, monkeypatch):
    """The metrics of a run that was stopped in its fourth iteration, with a checkpoint of the second."""
    with monkeypatch.context() as patch:
        stop_at(patch, AdversarialStage, "train_step", 4)
        with pytest.raises(Stopped):
            run_of(two_stages(), folder)
    metrics = folder / "base/metrics.jsonl"
    assert [json.loads(line)["iteration"] for line in metrics.read_text().splitlines()] == [1, 2, 3]
    return metrics
