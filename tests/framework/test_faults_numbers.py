"""Numbers that are not finite on one rank of two: all ranks stop, or undo the update, alike."""

import json
from pathlib import Path

import attrs
import pytest
import torch
from ranks import results
from tiny_runs import differing, run_of, two_stages

from components import ranks
from framework.adversarial_stage import AdversarialStage
from framework.checkpoint import first_not_finite, load_checkpoint, newest_whole
from framework.run_folder import RunFolder
from registry import InputError
from registry.errors import AgreedError

EXPERIMENT = two_stages(iterations=4, checkpoint_every=1, sample_every=4, samples=1, standing_passes=2)


def _with(**training):
    return attrs.evolve(EXPERIMENT, training=attrs.evolve(EXPERIMENT.training, **training))


def _everything(model, optimizers) -> dict:
    """Copies of weights, buffers, gradients' absence, the average and the optimizers' state."""
    state = {
        "model": model.state_dict(),
        "gradients": [name for name, weight in model.named_parameters() if weight.grad is not None],
        "optimizers": optimizers.state_dict(),
        "average": model.average.state_dict() if model.average else None,
    }
    return _copied(state)


def _copied(state):
    if isinstance(state, dict):
        return {key: _copied(value) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return [_copied(value) for value in state]
    return state.clone() if isinstance(state, torch.Tensor) else state


def _spoil(kind: str, number: float, rank: int, updates: range) -> None:
    """Make the loss, or gradients alone, of some updates on one rank ``number``. Updates are D, D, G in turn."""
    seen = []

    def spoilt(side, update):
        def of(model, batch, optimizer, prefix=None):
            seen.append(1)
            if len(seen) - 1 not in updates or ranks.rank() != rank:
                return update(model, batch, optimizer, prefix)
            with pytest.MonkeyPatch.context() as patch:
                if kind == "loss":  # the gradients stay as they are
                    loss = getattr(model.loss, side)
                    patch.setattr(model.loss, side, lambda *scores: loss(*scores) + number)
                else:
                    backward = optimizer.backward
                    patch.setattr(optimizer, "backward", lambda loss: (backward(loss), _set_one(optimizer, number)))
                return update(model, batch, optimizer, prefix)

        return of

    AdversarialStage.update_D = spoilt("discriminator", AdversarialStage.update_D)
    AdversarialStage.update_G = spoilt("generator", AdversarialStage.update_G)


def _set_one(optimizer, number: float) -> None:
    optimizer.param_groups[0]["params"][0].grad.view(-1)[0] = number


def _watched(found: list) -> None:
    """Note for each update what it changed: nothing where it was not finite."""
    step, attempt = AdversarialStage.train_step, AdversarialStage._update
    optimizers = []

    def stepping(model, data, optim_wrapper):
        optimizers[:] = [optim_wrapper]
        return step(model, data, optim_wrapper)

    def watching(model, network, update):
        before, log = _everything(model, optimizers[0]), None
        try:
            log = attempt(model, network, update)
        finally:
            found.append((bool(log), differing(_everything(model, optimizers[0]), before)))
        return log

    AdversarialStage.train_step, AdversarialStage._update = stepping, watching


def _stops(folder: Path, kind: str, number: float, rank: int, update: int):
    found = []
    _watched(found)
    _spoil(kind, number, rank, range(update, update + 1))
    with pytest.raises(InputError) as caught:
        run_of(_with(), folder)
    return found, str(caught.value)


WEIGHTS_MAY = ("running_mean", "running_var", "batches_tracked", "u", "v")
"""What a forward changes by itself."""


@pytest.mark.parametrize(
    ("kind", "number", "rank", "update", "network"),
    [
        ("loss", float("nan"), 0, 3, "discriminator"),
        ("loss", float("inf"), 1, 5, "generator"),
        ("gradient", float("nan"), 1, 4, "discriminator"),
        ("gradient", float("-inf"), 0, 5, "generator"),
    ],
)
def test_a_number_that_is_not_finite_stops_all(tmp_path, kind, number, rank, update, network):
    """On one rank of two: both stop before the step with the same line; weights and optimizers are as they were."""
    both = results(_stops, 2, tmp_path / "ranks", tmp_path / "run", kind, number, rank, update)
    for found, said in both:
        where = f"base: training diverged by iteration 2: the {kind} of the {network} is not finite; earlier "
        assert said.startswith(where)
        assert [ok for ok, _ in found] == [True] * update + [False]
        *good, (_, changed) = found
        assert all(paths for _, paths in good)
        assert [path for path in changed if path.rpartition(".")[2].partition("/")[0] not in WEIGHTS_MAY] == []
    assert both[0][1] == both[1][1]
    path, warnings = newest_whole(RunFolder(tmp_path / "run").checkpoints("base"))
    assert (path.stem, warnings) == ("iter_00000001", [])
    assert first_not_finite(load_checkpoint(path)) is None


def _skips(folder: Path, kind: str, number: float, rank: int, update: int) -> list:
    found = []
    _watched(found)
    _spoil(kind, number, rank, range(update, update + 1))
    run_of(_with(on_divergence="skip", average=0.9), folder, only="base")
    return found


@pytest.mark.parametrize(
    ("kind", "number", "rank", "update"),
    [("loss", float("nan"), 1, 3), ("gradient", float("inf"), 0, 4), ("loss", float("inf"), 0, 5)],
)
def test_a_skipped_update_is_undone(tmp_path, kind, number, rank, update):
    """Weights, buffers, average and optimizers are as before it in both ranks; it is counted, and the run goes on."""
    for found in results(_skips, 2, tmp_path / "ranks", tmp_path / "run", kind, number, rank, update):
        assert [place for place, (ok, _) in enumerate(found) if not ok] == [update]
        assert found[update][1] == []
        assert all(paths for ok, paths in found if ok)
    lines = RunFolder(tmp_path / "run").metrics("base").read_text().splitlines()
    assert [json.loads(line)["skipped"] for line in lines] == [0, 1, 0, 0]


def _skips_all(folder: Path, updates: range) -> tuple[int, str]:
    found = []
    _watched(found)
    _spoil("loss", float("nan"), 1, updates)
    with pytest.raises(InputError) as caught:
        run_of(_with(on_divergence="skip", iterations=40), folder)
    return len(found), str(caught.value)


@pytest.mark.parametrize(
    ("updates", "attempts", "network"),
    [(range(3, 1000), 3 + 3 * 14 + 2, "discriminator"), (range(5, 1000, 3), 3 + 3 * 30, "generator")],
    ids=["all", "of the generator alone"],
)
def test_thirty_skipped_in_a_row_stop(tmp_path, updates, attempts, network):
    """Of one network, whatever the other's do: in both ranks, after the thirtieth, with a line that says so."""
    for made, said in results(_skips_all, 2, tmp_path / "ranks", tmp_path / "run", updates):
        assert made == attempts
        assert f"the loss of the {network} (30 updates in a row) is not finite" in said
    path, _ = newest_whole(RunFolder(tmp_path / "run").checkpoints("base"))
    assert first_not_finite(load_checkpoint(path)) is None


def _overflows(folder: Path, on_divergence: str) -> tuple[int, str, bool]:
    found = []
    _watched(found)
    _spoil("gradient", float("inf"), 1, range(2, 1000, 3))
    with pytest.raises(InputError) as caught:
        run_of(_with(on_divergence=on_divergence, precision="float16", iterations=100), folder)
    return len(found) // 3, str(caught.value), isinstance(caught.value, AgreedError)


@pytest.mark.parametrize(("on_divergence", "iterations"), [("stop", 31), ("skip", 60)])
def test_float16_that_overflows_for_ever_stops_all(tmp_path, on_divergence, iterations):
    """Of one network on one rank of two: thirty halvings of the scale, then as a gradient that is not finite.

    The line names precisions that need no scale; skipped, it is thirty in a row that stop. The scale stays.
    """
    row = " (30 updates in a row)" if on_divergence == "skip" else ""
    [(made, said, agreed), other] = results(_overflows, 2, tmp_path / "ranks", tmp_path / "run", on_divergence)
    assert (made, agreed) == (iterations, True)
    assert other == (made, said, agreed)
    assert said == (
        f"base: training diverged by iteration {iterations}: the gradient of the generator{row} is not finite, also "
        "with float16's loss scaled by as little as 6.1e-05; earlier checkpoints stay; allowed: "
        "training.precision=bfloat16 or float32, or lower learning rates, in another --work-dir or with --restart"
    )
    path, _ = newest_whole(RunFolder(tmp_path / "run").checkpoints("base"))
    saved = load_checkpoint(path)
    scales = {name: each["scaler"]["scale"] for name, each in saved["optimizers"].items()}
    assert scales["generator"] == 2.0**-14
    assert scales["discriminator"] >= 1.0
    lines = [json.loads(line) for line in RunFolder(tmp_path / "run").metrics("base").read_text().splitlines()]
    if on_divergence == "skip":
        assert [line["skipped"] for line in lines] == [0] * 30 + [1] * 29
