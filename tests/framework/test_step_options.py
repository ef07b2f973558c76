"""Ways to compute a step: each gives what the plain one gives, but for rounding; and how often x̂_l is drawn."""

import copy
from contextlib import nullcontext

import attrs
import pytest
import torch
from ranks import results
from stage_makers import make_batch
from test_training_options import ALL_FRAMES, BATCH, CLASSES, WINDOW, Interrupted, stage_of, stopping_at
from tiny_runs import (
    DISCRIMINATOR,
    QUICK,
    differing,
    last_checkpoint,
    run_of,
    two_stages,
)
from torch import nn

from framework import use
from framework.adversarial_stage import AdversarialStage
from framework.rules import Rules
from framework.run_folder import RunFolder
from framework.runner import make_optimizers
from framework.train_stage import arrange
from registry import InputError

WAYS = {
    "two passes": {"one_pass": False},
    "by layer": {"power_iterations": "by layer"},
    "plain Adam": {"fused_adam": False},
    "as shapes say": {"channels_last": False},
}
PLAIN = {name: value for way in WAYS.values() for name, value in way.items()}
WITH = {
    "nothing else": {},
    "parts": {"clips_per_gpu": 2},
    "checkpointing": {"activation_checkpointing": True},
    "r1, clipped": {"r1": 0.3, "max_grad_norm": 0.5},
}
SAMPLING = {
    "spatial": use("SpatialDiscriminator", **DISCRIMINATOR, frames=2),
    "matching": use("MatchingDiscriminator", **DISCRIMINATOR),
}


@pytest.fixture(autouse=True)
def double_precision():
    """In which equality is to many digits, and rounding does not grow to what an error would be."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def state_after(steps: int, training: dict, discriminators=SAMPLING) -> dict[str, torch.Tensor]:
    """Gradients of the last update of each network, and weights, statistics and singular vectors after some steps."""
    wanted = attrs.evolve(QUICK, **training)
    stage = stage_of(discriminators=discriminators).double()
    stage.rules = Rules.of(wanted)
    optimizers = make_optimizers(stage, wanted)
    arrange(stage, wanted)
    found = {}
    for name, optimizer in optimizers.items():
        watch(optimizer, name, stage, found)
    for step in range(steps):
        torch.manual_seed(step)
        log = stage.train_step([make_batch(WINDOW, BATCH, CLASSES, 2 * step + k) for k in (0, 1)], optimizers)
        found |= {f"{name} of step {step}": value.double() for name, value in log.items()}
    return found | {name: value.clone() for name, value in stage.state_dict().items()}


def watch(optimizer, name: str, stage, found: dict) -> None:
    """Keep the gradients that the optimizer applies."""
    finish = optimizer.finish
    module = stage.generator if name == "generator" else stage.discriminators

    def keeping(losses):
        found.update({f"gradient of {key}": p.grad.clone() for key, p in module.named_parameters()})
        return finish(losses)

    optimizer.finish = keeping


@pytest.mark.parametrize("beside", WITH)
@pytest.mark.parametrize("way", WAYS)
def test_steps_are_the_plain_ones(way, beside):
    """After one step and after three: losses, norms, gradients, weights, statistics, singular vectors to 8 digits."""
    for steps in (1, 3):
        options = {**PLAIN, **{name: getattr(QUICK, name) for name in WAYS[way]}, **WITH[beside]}
        found, expected = state_after(steps, options), state_after(steps, PLAIN | WITH[beside])
        torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-8)


def test_all_at_once_and_compiled(monkeypatch):
    """The defaults, with compiled discriminators, against the plain step."""
    original = nn.Module.compile
    monkeypatch.setattr(nn.Module, "compile", lambda module: original(module, backend="aot_eager"))
    torch._dynamo.reset()
    found = state_after(2, {"compile": ("discriminators",)})
    torch.testing.assert_close(found, state_after(2, PLAIN), rtol=1e-7, atol=1e-8)
    torch._dynamo.reset()


def test_compiled_in_two_passes_of_one_prefix(monkeypatch):
    """Both networks compiled, real and generated videos one after the other, x̂_l drawn once: as if written plainly."""
    compiled, original = [], nn.Module.compile
    monkeypatch.setattr(
        nn.Module, "compile", lambda module: compiled.append(module) or original(module, backend="aot_eager")
    )
    torch._dynamo.reset()
    ways = {"compile": ("generator", "discriminators"), "one_pass": False, "prefix": "iteration"}
    found = state_after(2, ways)
    assert [type(each).__name__ for each in compiled] == [
        "UpsamplingGenerator",
        "SpatialDiscriminator",
        "MatchingDiscriminator",
    ]
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] >= len(compiled)
    torch._dynamo.reset()
    torch.testing.assert_close(found, state_after(2, PLAIN | {"prefix": "iteration"}), rtol=1e-7, atol=1e-8)
    with pytest.raises(AssertionError):
        torch.testing.assert_close(found, state_after(2, PLAIN), rtol=1e-7, atol=1e-8)


def test_the_comparison_notices(monkeypatch):
    """Two passes of which each moves the singular vectors, or draws its own frames, are told from one."""
    expected = state_after(2, {})
    with monkeypatch.context() as patch:
        patch.setattr("framework.adversarial_stage.held_singular_vectors", lambda module: nullcontext())
        with pytest.raises(AssertionError):
            torch.testing.assert_close(state_after(2, {"one_pass": False}), expected, rtol=1e-7, atol=1e-8)
    with monkeypatch.context() as patch:
        patch.setattr("components.ranks.among", lambda first, clips: nullcontext())
        with pytest.raises(AssertionError):
            torch.testing.assert_close(state_after(2, {"one_pass": False}), expected, rtol=1e-7, atol=1e-8)


def on_a_rank(folder, options: dict) -> None:
    torch.set_default_dtype(torch.float64)
    run_of(two_stages(**options), folder)


def test_on_two_ranks(tmp_path):
    """Two processes that share the batch end where they would have without any of it."""
    for name, options in (("plain", PLAIN), ("ours", {}), ("two passes", {"one_pass": False})):
        results(on_a_rank, 2, tmp_path / f"ranks {name}", tmp_path / name, options)
    for stage in ("base", "full"):
        plain, *others = (last_checkpoint(RunFolder(tmp_path / n), stage) for n in ("plain", "ours", "two passes"))
        for other in others:
            torch.testing.assert_close(other["model"], plain["model"], rtol=1e-6, atol=1e-7)


# Checkpoints


def test_a_run_goes_on_in_other_ways(tmp_path):
    """Begun plainly and taken up with all of it, and the other way round: the same files and names, near weights."""
    runs = []
    for number, (first, then) in enumerate(((PLAIN, {}), ({}, PLAIN), (PLAIN, PLAIN))):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(AdversarialStage, "train_step", stopping_at(4))
            with pytest.raises(Interrupted):
                run_of(two_stages(**first), tmp_path / str(number), only="base")
        runs.append(run_of(two_stages(**then), tmp_path / str(number), only="base"))
    saved = [last_checkpoint(run, "base") for run in runs]
    for one in saved[:2]:
        torch.testing.assert_close(one["model"], saved[2]["model"], rtol=1e-6, atol=1e-7)
        assert list(one["model"]) == list(saved[2]["model"])
        assert all(value.is_contiguous() for value in one["model"].values())
        for name, each in one["optimizers"].items():
            assert {int(state["step"]) for state in each["state"].values()} == {8 if name == "discriminator" else 4}


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_an_optimizer_keeps_its_own_way(fused, precision):
    """State of the other kind of Adam is taken over, how the step is made is not; the step after is the same."""
    stages = [stage_of(discriminators=ALL_FRAMES).float() for _ in range(2)]
    torch.set_default_dtype(torch.float32)
    kinds = [attrs.evolve(QUICK, fused_adam=kind, precision=precision) for kind in (fused, not fused)]
    wrappers = [make_optimizers(stage, kind)["generator"] for stage, kind in zip(stages, kinds, strict=True)]
    for seed in range(2):
        step(stages[0], wrappers[0], seed)
    stages[1].load_state_dict(stages[0].state_dict())
    wrappers[1].load_state_dict(copy.deepcopy(wrappers[0].state_dict()))  # tensors would be shared
    assert {group["fused"] for group in wrappers[1].param_groups} == {None if fused else True}
    for stage, wrapper in zip(stages, wrappers, strict=True):
        step(stage, wrapper, 2)
    torch.testing.assert_close(stages[1].state_dict(), stages[0].state_dict(), rtol=1e-4, atol=1e-5)
    counts = [{int(state["step"]) for state in each.optimizer.state.values()} for each in wrappers]
    assert counts[0] == counts[1]


def step(stage, wrapper, seed: int) -> None:
    """An update by random gradients, scaled as the loss is."""
    random = torch.Generator().manual_seed(seed)
    for parameter in stage.generator.parameters():
        parameter.grad = (
            torch.randn(parameter.shape, generator=random, dtype=torch.float32) * wrapper._scaler.get_scale()
        )
    wrapper._scaler.scale(torch.zeros(()))  # as the backward pass would have
    wrapper.finish([torch.zeros(())])


# How often x̂_l is drawn


def recorded(stage, monkeypatch, batches=None) -> list:
    """What the generator is given in each update of one iteration, and the sources' calls."""
    given = []
    stage.generator.register_forward_pre_hook(lambda module, args: given.append([a.clone() for a in args]))
    frames = stage.sources.frames
    calls = []
    monkeypatch.setattr(stage.sources, "frames", lambda *args: calls.append(args) or frames(*args))
    stage.train_step(batches or [make_batch(WINDOW, BATCH, CLASSES, k) for k in (0, 1)], make_optimizers(stage, QUICK))
    return [given, calls]


@pytest.mark.parametrize("most", [None, 2])
def test_one_prefix_for_an_iteration(monkeypatch, most):
    """All three updates upsample one x̂_l of one batch's classes, which is generated once; z is drawn for each."""
    stage = stage_of(Rules(prefix="iteration", most_clips=most))
    batches = [make_batch(WINDOW, BATCH, CLASSES, k) for k in (0, 1)]
    given, calls = recorded(stage, monkeypatch, batches)
    parts = 1 if most is None else 2
    assert len(calls) == parts
    z, y, x_l = (torch.cat(each).unflatten(0, (3, -1)) for each in zip(*given, strict=True))
    assert all(torch.equal(x_l[0], other) for other in x_l)
    assert all(each.tolist() == batches[1]["label"].tolist() for each in y)
    assert len({tuple(each.flatten().tolist()) for each in z}) == 3
    with torch.no_grad():
        whole = torch.cat([stage.sources.frames(*call) for call in calls[:parts]])
    assert torch.equal(whole, x_l[0])


def test_a_prefix_for_each_update(monkeypatch):
    """By default each update draws its own, of its batch's classes."""
    batches = [make_batch(WINDOW, BATCH, CLASSES, k) for k in (0, 1)]
    given, calls = recorded(stage_of(), monkeypatch, batches)
    assert len(calls) == 3
    assert not torch.equal(given[0][2], given[1][2])
    assert [y.tolist() for _, y, _ in given] == [batches[k]["label"].tolist() for k in (0, 1, 1)]


def test_a_shared_prefix_across_ranks_and_resumes(tmp_path):
    """Two ranks make what one makes; a run may not change how often it draws on the way; a base stage has none."""
    run = run_of(two_stages(prefix="iteration"), tmp_path / "one")
    results(on_a_rank, 2, tmp_path / "ranks", tmp_path / "two", {"prefix": "iteration"})
    for stage in ("base", "full"):
        one, two = (last_checkpoint(RunFolder(tmp_path / n), stage)["model"] for n in ("one", "two"))
        torch.testing.assert_close(two, one, rtol=1e-6, atol=1e-7)
    plain = run_of(two_stages(), tmp_path / "plain")
    assert differing(*(last_checkpoint(each, "base")["model"] for each in (run, plain))) == []
    assert differing(*(last_checkpoint(each, "full")["model"] for each in (run, plain))) != []
    with pytest.raises(InputError, match="prefix"):
        run_of(two_stages(), run.path)
