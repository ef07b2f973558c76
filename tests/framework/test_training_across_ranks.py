"""Two processes train what one trains: gradients, weights, order of samples; and take up one another's runs."""

import contextlib
import functools
import json
import os
import signal
from pathlib import Path

import attrs
import numpy as np
import pytest
import torch
from ranks import results
from same_end import assert_same_files
from tiny_runs import differing, last_checkpoint, metrics_of, run_of, two_stages

from components import ranks
from framework import use
from framework.adversarial_stage import AdversarialStage
from framework.run_folder import RunFolder
from framework.stage_data import StageClips
from framework.update import NetworkOptimizer
from registry import InputError
from registry.errors import Stopped

STAGES = ("base", "full")
TIMM = {
    "discriminators": {
        "spatial": use("TimmDiscriminator", backbone="test_resnet", frames=2),
        "temporal": use("TemporalDiscriminator", channels=2, multipliers=[1, 2]),
    }
}
"""With a batch norm in a discriminator, which sees real and fake videos of all ranks."""
CONVGRU = {
    "generator": use(
        "UpsamplingGenerator", channels=2, multipliers=[2, 1], noise_dim=4, embedding_dim=3, temporal_layer="convgru"
    )
}
EXPERIMENTS = {
    "plain": two_stages(),
    "in parts": two_stages(clips_per_gpu=1, batch_size=4),
    "timm": two_stages(full=TIMM),
    "convgru, r1, clipped, averaged": two_stages(full=CONVGRU, r1=0.1, max_grad_norm=1.0, average=0.9),
    "recomputed": two_stages(activation_checkpointing=True),
}


def gradients(folder: Path, experiment) -> dict[str, list[torch.Tensor]]:
    """Every gradient that is applied in one iteration of each stage."""
    applied, finish = {}, NetworkOptimizer.finish

    def record(optimizer, losses):
        seen = [p.grad.clone() for group in optimizer.param_groups for p in group["params"]]
        applied[f"{optimizer._name} {len(applied)}"] = seen
        return finish(optimizer, losses)

    NetworkOptimizer.finish = record
    run_of(experiment, folder)
    return applied


def trained(folder: Path, experiment) -> None:
    # A bias before a batch norm has no gradient but rounding, which Adam with its own tiny eps makes whole steps of.
    torch.optim.Adam = functools.partial(torch.optim.Adam, eps=1e-4)
    run_of(experiment, folder)


def one_or_two(function, world: int, folder: Path, *arguments):
    """What rank 0 returns; one process is started like two, so that they differ in nothing else."""
    return results(function, world, folder / f"ranks{world}", folder / f"run{world}", *arguments)[0]


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_gradients_are_those_of_one_process(tmp_path, name):
    """In the first iteration of the first stage: the same to five digits, of every layer, each of three updates.

    (Of the second stage they follow a base that trained on rounded gradients already; weights are compared below.)
    """
    experiment = attrs.evolve(EXPERIMENTS[name], training=attrs.evolve(EXPERIMENTS[name].training, iterations=1))
    # In parts, one process takes four of one clip, two processes two each: as many parts must be made for both.
    per = 2 if name == "in parts" else None
    one = one_or_two(gradients, 1, tmp_path, _with(experiment, clips_per_gpu=per))
    two = one_or_two(gradients, 2, tmp_path, _with(experiment, clips_per_gpu=per and 1))
    assert list(one) == list(two)
    for update in list(one)[:3]:
        for a, b in zip(one[update], two[update], strict=True):
            torch.testing.assert_close(b, a, rtol=1e-4, atol=1e-5 * max(1.0, a.abs().max().item()))


def _with(experiment, **training):
    return attrs.evolve(experiment, training=attrs.evolve(experiment.training, **training))


@pytest.mark.parametrize("name", ["plain", "recomputed"])
def test_weights_after_20_iterations_are_those_of_one_process(tmp_path, name):
    """Weights and statistics to 0.005, where weights moved by up to 0.02; singular vectors to 0.05."""
    changes = {"iterations": 20, "generator_lr": 1e-3, "discriminator_lr": 1e-3}
    experiment = _with(EXPERIMENTS[name], **changes, checkpoint_every=20, sample_every=20)
    for world in (1, 2):
        one_or_two(trained, world, tmp_path, experiment)
    for stage in STAGES:
        one, two = (last_checkpoint(RunFolder(tmp_path / f"run{world}"), stage)["model"] for world in (1, 2))
        for key in one:
            if one[key].is_floating_point():
                near = {"rtol": 2e-2, "atol": 5e-2 if key.endswith((".u", ".v")) else 5e-3}
                torch.testing.assert_close(two[key], one[key], **near, msg=lambda text, key=key: f"{key}: {text}")


def trained_whole(folder: Path, experiment) -> None:
    run_of(experiment, folder)


def stopped_and_taken_up(folder: Path, experiment, stop_after: int) -> None:
    """Ends amid the run as a killed process does, in all ranks, and begins again."""
    original, calls = AdversarialStage.train_step, []

    def counting(*args, **kwargs):
        calls.append(1)
        if len(calls) == stop_after:
            raise KeyboardInterrupt
        return original(*args, **kwargs)

    AdversarialStage.train_step = counting
    with pytest.raises(KeyboardInterrupt):
        run_of(experiment, folder)
    AdversarialStage.train_step = original
    run_of(experiment, folder)


@pytest.mark.parametrize("call", [4, 7])
def test_two_ranks_resume_bit_for_bit(tmp_path, call):
    """Stopped in either stage and taken up, two ranks end where two ranks end that were never stopped."""
    experiment = _with(EXPERIMENTS["convgru, r1, clipped, averaged"], workers=1)
    results(trained_whole, 2, tmp_path / "a", tmp_path / "whole", experiment)
    results(stopped_and_taken_up, 2, tmp_path / "b", tmp_path / "stopped", experiment, call)
    whole, stopped = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "stopped")
    for stage in STAGES:
        assert differing(last_checkpoint(stopped, stage), last_checkpoint(whole, stage)) == []
        assert metrics_of(stopped, stage) == metrics_of(whole, stage)
        assert_same_files(stopped.artifact(stage), whole.artifact(stage))


def positions_until_stopped(folder: Path, experiment, when: int) -> list[int]:
    """The positions that this rank reads in a run that is told to stop in its ``when``-th iteration."""
    seen, read, step, calls = [], StageClips.read, AdversarialStage.train_step, []

    def reading(clips, position, out):
        seen.append(position)
        return read(clips, position, out)

    def telling(*args, **kwargs):
        calls.append(1)
        if len(calls) == when:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(*args, **kwargs)

    StageClips.read, AdversarialStage.train_step = reading, telling
    with contextlib.suppress(Stopped):
        run_of(experiment, folder, only="base")
    return seen


def test_another_number_of_ranks_takes_up_the_same_order(tmp_path):
    """Two ranks, then one, then four, each until a signal or the end: every position once, whole batches in order."""
    experiment = _with(two_stages(), iterations=9, checkpoint_every=100)
    run, per = tmp_path / "run", experiment.training.batch_size * experiment.training.discriminator_steps
    rounds = []
    for world, when in ((2, 2), (1, 2), (4, 100)):
        found = results(positions_until_stopped, world, tmp_path / f"ranks{world}", run, experiment, when)
        rounds.append(sorted(position for each in found for position in each))
    assert [position for each in rounds for position in each] == list(range(9 * per))
    assert [len(each) % per for each in rounds] == [0, 0, 0]
    assert all(rounds)
    lines = [json.loads(line)["iteration"] for line in RunFolder(run).metrics("base").read_text().splitlines()]
    assert lines == list(range(1, 10))


def test_metrics_are_means_over_all_ranks(tmp_path):
    """What two ranks log in the first iteration is what one process with the whole batch logs."""
    experiment = _with(two_stages(), iterations=1)
    for world in (1, 2):
        one_or_two(trained_whole, world, tmp_path, experiment)
    [one], [two] = (metrics_of(RunFolder(tmp_path / f"run{world}"), "base") for world in (1, 2))
    assert one.keys() == two.keys() > {"loss_D", "loss_G", "temporal/real", "grad_norm_G"}
    for name in one:
        assert two[name] == pytest.approx(one[name], rel=1e-3, abs=1e-4), name


def test_a_batch_that_cannot_be_shared_is_refused(tmp_path, monkeypatch):
    """By three processes, before anything is written."""
    monkeypatch.setattr(ranks, "world", lambda: 3)
    with pytest.raises(InputError, match=r"training\.batch_size: 4 clips cannot be shared evenly by 3 processes"):
        run_of(two_stages(), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_noise_is_that_of_the_whole_batch(tmp_path):
    """Shares of noise, interleaved, are the noise of one process: which clip meets which does not hang on ranks."""
    shares = results(_noise, 3, tmp_path / "ranks")
    whole = _noise()
    assert np.array_equal(
        np.stack(shares, axis=1).reshape(whole.shape[0] * 3, 4)[: len(whole)], _noise(12)[: len(whole)]
    )


def _noise(clips: int = 4):
    torch.manual_seed(3)
    return ranks.per_clip(torch.randn, clips, 4).numpy()
