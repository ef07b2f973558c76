"""Options of a training, each through runs and steps of a stage: what they change, and what they must not."""

import logging

import attrs
import numpy as np
import pytest
import torch
from ranks import results
from safetensors.torch import load_file
from stage_makers import make_batch, make_stage
from tiny_runs import (
    DISCRIMINATOR,
    QUICK,
    base_stage,
    copy_of,
    differing,
    last_checkpoint,
    metrics_of,
    run_of,
    two_stages,
    upsampling_stage,
)
from torch import nn

from components.clip import Clip
from components.discriminators import Discriminator
from framework import StageGraph, use
from framework.adversarial_stage import AdversarialStage, _r1
from framework.artifact import load_cascade, manifest_digest, read_manifest
from framework.average import WeightAverage
from framework.build import build_generator
from framework.randomness import reseed
from framework.rules import Rules
from framework.run_folder import RunFolder
from framework.runner import make_optimizers
from framework.update import NetworkOptimizer
from registry import DISCRIMINATORS, InputError

CLASSES, BATCH, WINDOW = 3, 4, Clip(4, 8, 8)
HALVES = {"bfloat16": torch.bfloat16, "float16": torch.float16}


ALL_FRAMES = {
    "spatial": use("SpatialDiscriminator", **DISCRIMINATOR, frames=4),
    "matching": use("MatchingDiscriminator", **DISCRIMINATOR),
}
"""Discriminators that draw nothing."""


def stage_of(rules: Rules | None = None, **changes) -> AdversarialStage:
    """The second of two stages, with weights that are always the same."""
    torch.manual_seed(0)
    changes = {"discriminators": ALL_FRAMES, **changes}
    stages = [base_stage(Clip(4, 4, 4, stride=2)), upsampling_stage("full", "base", Clip(8, 8, 8), **changes)]
    stage = make_stage(StageGraph(clip=Clip(8, 8, 8), classes=CLASSES, stages=stages), "full").train()
    stage.rules = rules or Rules()
    return stage


def gradients(stage, network: str, batch, **training) -> dict[str, torch.Tensor]:
    """Of one update from the same random numbers, by parameter; they are not applied."""
    optimizers = make_optimizers(stage, attrs.evolve(QUICK, **training))
    wrapper, found = optimizers[network], {}
    # A scale that has fallen to where nothing overflows.
    wrapper._scaler = torch.amp.GradScaler("cpu", 256.0, enabled=training.get("precision") == "float16")
    module = stage.generator if network == "generator" else stage.discriminators

    def record(losses):
        wrapper._scaler.unscale_(wrapper.optimizer)
        found.update({name: p.grad.clone() for name, p in module.named_parameters()})
        wrapper.zero_grad()

    wrapper.finish = record
    torch.manual_seed(5)
    (stage.update_G if network == "generator" else stage.update_D)(batch, wrapper)
    return found


def frozen_statistics(stage) -> AdversarialStage:
    """Batch norms that normalise by running statistics, so that no clip sees another."""
    stage.generator.trunk.eval()
    return stage


class Interrupted(Exception):  # noqa: N818  # not an error: the power went out
    """The run ends here."""


def interrupted(experiment, folder, call: int, **options) -> RunFolder:
    """A run whose ``call``-th iteration was cut off, and that was taken up by the same call."""
    step, calls = AdversarialStage.train_step, []

    def counting(*args, **kwargs):
        calls.append(1)
        if len(calls) == call:
            raise Interrupted
        return step(*args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AdversarialStage, "train_step", counting)
        with pytest.raises(Interrupted):
            run_of(experiment, folder, **options)
    return run_of(experiment, folder, **options)


def assert_same(run, other, stages=("base",)) -> None:
    """Checkpoints, artifacts but for their spec, and metrics are equal in every bit."""
    for stage in stages:
        assert differing(last_checkpoint(run, stage), last_checkpoint(other, stage)) == []
        assert metrics_of(run, stage) == metrics_of(other, stage)
        for file in other.artifact(stage).glob("*.safetensors"):
            assert (run.artifact(stage) / file.name).read_bytes() == file.read_bytes(), file


# Accumulation


@pytest.mark.parametrize("most", [1, 2, 3])
@pytest.mark.parametrize("network", ["generator", "discriminator"])
def test_parts_have_the_gradients_of_the_whole(network, most):
    """Where no clip sees another: the same to rounding, whether parts have one clip or half; so have R1's."""
    batch = make_batch(WINDOW, BATCH, CLASSES)
    whole, parts = (
        gradients(frozen_statistics(ready(stage_of(Rules(most_clips=each, r1=0.5)))), network, batch)
        for each in (None, most)
    )
    assert any(value.abs().max() > 1e-2 for value in whole.values())
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value, rtol=1e-3, atol=1e-5 * max(1.0, value.abs().max().item()))


def ready(stage):
    """With running statistics of its batch norms for the window."""
    with torch.no_grad():
        torch.manual_seed(1)
        stage.fake(torch.arange(BATCH) % CLASSES, stage.draw(BATCH))
    return stage


def test_batch_norms_see_a_part(monkeypatch):
    """In training mode statistics are those of each part, as documented: other gradients, each norm fed twice."""
    batch = make_batch(WINDOW, BATCH, CLASSES)
    whole, parts = stage_of(), stage_of(Rules(most_clips=2))
    one, two = (gradients(stage, "generator", batch) for stage in (whole, parts))
    assert any(not torch.allclose(one[name], two[name], rtol=1e-2, atol=1e-3) for name in one)
    tracked = [int(stage.generator.trunk.norm.batches_tracked[0]) for stage in (whole, parts)]
    assert tracked == [1, 2]


def test_parts_are_as_many_as_must_be(monkeypatch):
    """clips_per_gpu=3 of eight clips are parts of two; real and fake videos of a part go through together."""
    stage = stage_of(Rules(most_clips=3))
    seen = []
    stage.discriminators["spatial"].register_forward_pre_hook(lambda module, args: seen.append(len(args[0])))
    stage.train_step([make_batch(WINDOW, 8, CLASSES)] * 2, make_optimizers(stage, QUICK))
    assert seen == [4] * 8 + [2] * 4


def test_clips_per_gpu_may_change_on_the_way(tmp_path):
    """A run goes on with smaller parts, and with other things that stand beside the result."""
    run = run_of(two_stages(), tmp_path / "run", only="base")
    for file in run.artifact("base").iterdir():
        file.unlink()
    run.artifact("base").rmdir()
    beside = {"clips_per_gpu": 2, "activation_checkpointing": True, "keep_checkpoints": 1, "on_divergence": "skip"}
    run_of(two_stages(**beside), run.path, only="base")
    assert read_manifest(run.artifact("base")).iterations == 4
    with pytest.raises(InputError, match="precision"):
        run_of(two_stages(precision="bfloat16"), run.path)


# Precision


@pytest.mark.parametrize("precision", HALVES)
@pytest.mark.parametrize("network", ["generator", "discriminator"])
def test_gradients_are_near_those_of_float32(precision, network):
    """All gradients as one vector: within 25 % of its length for bfloat16, 5 % for float16, and not the same."""
    batch = make_batch(WINDOW, BATCH, CLASSES)
    full, half = (
        torch.cat([value.flatten() for value in gradients(stage_of(), network, batch, precision=each).values()])
        for each in ("float32", precision)
    )
    assert half.dtype == torch.float32
    error = (half - full).norm() / full.norm()
    assert 0 < error < {"bfloat16": 0.25, "float16": 0.05}[precision]


@pytest.mark.parametrize("precision", HALVES)
def test_half_precision_trains_and_resumes(tmp_path, precision):
    """Features are in half, all that is kept in float32; cut off and taken up it ends in the same bits."""
    experiment = two_stages(precision=precision, generator_lr=1e-3, discriminator_lr=1e-3)
    seen = set()

    def look(module, args, output):
        if isinstance(module, nn.Conv2d | nn.Conv3d) and torch.is_autocast_enabled("cpu"):
            seen.add(output.dtype)

    hook = nn.modules.module.register_module_forward_hook(look)
    run = run_of(experiment, tmp_path / "whole", only="base")
    hook.remove()
    assert seen == {HALVES[precision]}
    saved = last_checkpoint(run, "base")
    assert {value.dtype for value in saved["model"].values() if value.is_floating_point()} == {torch.float32}
    states = [state for each in saved["optimizers"].values() for state in each["state"].values()]
    assert {value.dtype for state in states for value in state.values()} == {torch.float32}
    scales = {name: bool(each["scaler"]) for name, each in saved["optimizers"].items()}
    assert scales == dict.fromkeys(("generator", "discriminator"), precision == "float16")
    assert_same(interrupted(experiment, tmp_path / "run", 4, only="base"), run)


def test_float16_goes_on_after_an_overflow(tmp_path, monkeypatch):
    """Steps that overflow are left out and the scale falls; the run, its lines and its checkpoints go on."""
    scaler = torch.amp.GradScaler
    monkeypatch.setattr(torch.amp, "GradScaler", lambda device, enabled: scaler(device, 2.0**40, enabled=enabled))
    run = run_of(two_stages(precision="float16", iterations=6, average=0.5), tmp_path / "run", only="base")
    saved, lines = last_checkpoint(run, "base"), metrics_of(run, "base")
    for name, norm, updates in (("discriminator", "grad_norm_D", 12), ("generator", "grad_norm_G", 6)):
        steps = {int(state["step"]) for state in saved["optimizers"][name]["state"].values()} or {0}
        left_out = 40 - int(np.log2(saved["optimizers"][name]["scaler"]["scale"]))
        assert left_out > 0
        assert steps == {updates - left_out}
        assert norm not in lines[0]
        assert all(np.isfinite(line["loss_D"]) for line in lines)
    assert saved["average"]["updates"] == max(steps)
    assert len(lines) == 6


# torch.compile


@pytest.fixture
def eager_backend(monkeypatch):
    """Networks are traced as always, but not turned into machine code, which takes minutes here."""
    compiled, original = [], nn.Module.compile

    def trace(module, **options):
        compiled.append(type(module).__name__)
        return original(module, **options, backend="aot_eager")

    monkeypatch.setattr(nn.Module, "compile", trace)
    torch._dynamo.reset()
    yield compiled
    torch._dynamo.reset()


def test_compiled_networks_train_the_same(trained, tmp_path, eager_backend, caplog):
    """Begun as it is written, taken up compiled, finished as written: the same names, and weights to five digits."""
    plain = {"only": "base"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AdversarialStage, "train_step", stopping_at(3))
        with pytest.raises(Interrupted):
            run_of(two_stages(), tmp_path / "run", **plain)
    with caplog.at_level(logging.WARNING, logger="torch._dynamo"):
        run = run_of(two_stages(compile=("generator", "discriminators")), tmp_path / "run", **plain)
    assert eager_backend == ["DVDGenerator", "TemporalDiscriminator"]
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0
    breaks = torch._dynamo.utils.counters["graph_break"]
    assert all("sample_frames" in reason for reason in breaks)  # which draws as it is written
    assert "recompile_limit" not in caplog.text
    one, other = (last_checkpoint(each, "base") for each in (run, trained))
    assert list(one["model"]) == list(other["model"])
    for name, value in other["model"].items():
        torch.testing.assert_close(one["model"][name], value, rtol=1e-4, atol=1e-4, msg=name)
    files = [load_file(each.artifact("base") / "generator.safetensors") for each in (run, trained)]
    for name, value in files[1].items():
        torch.testing.assert_close(files[0][name], value, rtol=1e-4, atol=1e-4, msg=name)


def stopping_at(call: int):
    step, calls = AdversarialStage.train_step, []

    def counting(*args, **kwargs):
        calls.append(1)
        if len(calls) == call:
            raise Interrupted
        return step(*args, **kwargs)

    return counting


# Activation checkpointing


def test_recomputed_activations_change_nothing(trained, tmp_path):
    """Two stages trained with it end in the very bits of those trained without; activations were freed."""
    run = run_of(two_stages(activation_checkpointing=True), tmp_path / "run")
    assert_same(run, trained, ("base", "full"))


def recomputed(folder, wanted: bool) -> None:
    run_of(two_stages(activation_checkpointing=wanted, iterations=2), folder)


def test_recomputed_activations_change_nothing_on_two_ranks(tmp_path):
    """Nor with two processes, whose batch norms must exchange their moments once, not twice."""
    for wanted in (False, True):
        results(recomputed, 2, tmp_path / f"ranks{wanted}", tmp_path / f"run{wanted}", wanted)
    assert_same(*(RunFolder(tmp_path / f"run{wanted}") for wanted in (True, False)), ("base", "full"))


# Averaged weights


@pytest.fixture(scope="module")
def averaged(tmp_path_factory):
    """Two stages with averaged weights, and what each stage's weights were after each of its iterations."""
    seen, update = [], WeightAverage.update

    def recording(average, generator):
        update(average, generator)
        seen.append({name: value.detach().clone() for name, value in generator.named_parameters()})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WeightAverage, "update", recording)
        run = run_of(two_stages(average=0.6), tmp_path_factory.mktemp("averaged") / "run")
    return run, {"base": seen[:4], "full": seen[4:]}


def test_the_average_is_of_the_weights_of_every_iteration(averaged, trained):
    """By the formula over recorded weights; those that train are as without an average, and kept beside it."""
    run, seen = averaged
    [first, *_] = seen["base"]
    saved = last_checkpoint(run, "base")
    decays = [min(0.6, (1 + n) / (10 + n)) for n in range(4)]
    shares = [(1 - decays[n]) * np.prod(decays[n + 1 :]) for n in range(4)]
    weights = load_file(run.artifact("base") / "average.safetensors")
    begun = initial_weights()
    for name in first:
        expected = np.prod(decays) * begun[name] + sum(
            s * each[name] for s, each in zip(shares, seen["base"], strict=True)
        )
        torch.testing.assert_close(saved["average"]["parameters"][name], expected, rtol=1e-4, atol=1e-5)
        assert torch.equal(weights[name], saved["average"]["parameters"][name])
    assert saved["average"]["updates"] == 4
    own = load_file(run.artifact("base") / "generator.safetensors")
    assert differing(saved["model"], last_checkpoint(trained, "base")["model"]) == []
    assert differing(own, load_file(trained.artifact("base") / "generator.safetensors")) == []


def initial_weights() -> dict[str, torch.Tensor]:
    experiment = two_stages()
    reseed(experiment.seed, "base", "weights")
    generator = build_generator(experiment.graph, experiment.graph["base"])
    return {name: value.detach() for name, value in generator.named_parameters()}


def test_the_artifact_has_both_with_statistics_of_their_own(averaged):
    """Either file has running statistics of the whole clip, other than the other's; the manifest names both."""
    run, _ = averaged
    for stage, frames in (("base", 4), ("full", 8)):
        files = {n: load_file(run.artifact(stage) / f"{n}.safetensors") for n in ("generator", "average")}
        assert set(read_manifest(run.artifact(stage)).digests) == {
            "generator.safetensors", "average.safetensors", "spec.json"
        }  # fmt: skip
        names = [name for name in files["generator"] if name.endswith("running_var")]
        for name in names:
            assert {len(each[name]) for each in files.values()} == {frames}
            assert not torch.equal(files["generator"][name], files["average"][name])
        assert names


def test_later_stages_and_films_use_the_average(averaged, tmp_path):
    """A cascade holds the averaged weights, the second stage names the first's artifact; without one it is refused."""
    run, _ = averaged
    experiment = two_stages(average=0.6)
    cascade = load_cascade(run.artifacts(experiment), experiment, "full")
    for link in cascade.links:
        weights = load_file(run.artifact(link.name) / "average.safetensors")
        assert differing(dict(link.generator.state_dict()), weights) == []
    assert read_manifest(run.artifact("full")).source == manifest_digest(run.artifact("base"))
    copy = copy_of(run, tmp_path / "run")
    (copy.artifact("base") / "average.safetensors").unlink()
    with pytest.raises(InputError, match=r"average\.safetensors: is missing from the artifact"):
        load_cascade(copy.artifacts(experiment), experiment, "full")


def test_an_average_resumes(averaged, tmp_path):
    """Cut off in either stage, averages and artifacts end in the same bits."""
    assert_same(interrupted(two_stages(average=0.6), tmp_path / "run", 8), averaged[0], ("base", "full"))


# Gradient clipping, R1


def test_clipped_gradients_in_a_run(tmp_path, monkeypatch):
    """Norms of a line are those of the gradients before; plain descent then moves weights by the bound at most."""
    monkeypatch.setattr(torch.optim, "Adam", lambda parameters, lr, **_: torch.optim.SGD(parameters, lr=1.0))
    norms, finish = {"generator": [], "discriminator": []}, NetworkOptimizer.finish

    def measuring(optimizer, losses):
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        before = [p.detach().clone() for p in parameters]
        norm = sum((p.grad.double() ** 2).sum() for p in parameters).sqrt().item()
        finish_norm = finish(optimizer, losses)
        moved = sum(((p.detach() - b).double() ** 2).sum() for p, b in zip(parameters, before, strict=True))
        assert moved.sqrt().item() == pytest.approx(min(norm, 0.5), rel=1e-3)
        norms[optimizer._name].append(norm)
        return finish_norm

    monkeypatch.setattr(NetworkOptimizer, "finish", measuring)
    run = run_of(two_stages(max_grad_norm=0.5), tmp_path / "run", only="base")
    lines = metrics_of(run, "base")
    assert [line["grad_norm_G"] for line in lines] == pytest.approx(norms["generator"], rel=1e-4)
    assert [line["grad_norm_D"] for line in lines] == pytest.approx(norms["discriminator"][1::2], rel=1e-4)
    assert max(norms["discriminator"]) > 0.5


class Quadratic(Discriminator):
    """Scores ``weight/2 |x|²`` of each clip, as many times as it has outputs."""

    def __init__(self, clip, view=None, classes=None, *, outputs: int = 1) -> None:
        super().__init__()
        self.weight, self.outputs = nn.Parameter(torch.tensor(0.3)), outputs

    def forward(self, x, y=None, x_l=None):
        return self.weight / 2 * x.square().flatten(1).sum(1, keepdim=True).expand(-1, self.outputs)


@pytest.mark.parametrize("most", [None, 2])
def test_r1_by_hand(monkeypatch, most):
    """Two quadratic scores: the penalty is (a + b)²/2 E|x|² of real clips, its slope in either weight (a + b) E|x|²."""
    monkeypatch.setitem(DISCRIMINATORS._classes.module_dict, "Quadratic", Quadratic)
    DISCRIMINATORS.register(Quadratic)
    networks = {"one": use("Quadratic"), "many": use("Quadratic", outputs=5)}
    batch = make_batch(WINDOW, BATCH, CLASSES)
    plain, with_r1 = (
        gradients(stage_of(Rules(r1=r1, most_clips=most), discriminators=networks), "discriminator", batch)
        for r1 in (0.0, 0.7)
    )
    square = ((batch["frames"].double() / 127.5 - 1) ** 2).sum().item() / BATCH
    for name, value in plain.items():
        assert (with_r1[name] - value).item() == pytest.approx(0.7 * 0.6 * square, rel=1e-4)
    stage = stage_of(Rules(r1=0.7), discriminators=networks)
    log = stage.train_step([batch], make_optimizers(stage, QUICK))
    assert log["r1"].item() == pytest.approx(0.6**2 * square / 2, rel=1e-4)


def test_r1_by_differences():
    """Of the shipped discriminators: their summed mean scores' slope in every pixel, by central differences."""
    stage = stage_of(Rules(r1=1.0)).double().eval()
    real = stage.real(make_batch(WINDOW, 2, CLASSES))
    x, x_l = real.x.detach().double(), real.x_l.double()

    def total(videos, clip):
        y, low = real.y[clip].expand(len(videos)), x_l[clip].expand(len(videos), *x_l.shape[1:])
        return sum(each.mean(1) for each in stage.discriminators(videos, y, low).values())

    step = 1e-6 * torch.eye(x[0].numel(), dtype=torch.float64).view(-1, *x.shape[1:])
    with torch.no_grad():
        slopes = [(total(x[clip] + step, clip) - total(x[clip] - step, clip)) / 2e-6 for clip in range(2)]
    expected = np.mean([each.square().sum().item() for each in slopes]) / 2
    x.requires_grad_()
    assert _r1(x, stage.discriminators(x, real.y, x_l)).item() == pytest.approx(expected, rel=1e-4)


# Deterministic mode


def test_deterministic_mode(trained, tmp_path, monkeypatch):
    """On in every iteration and in the statistics, off again after the run, also where that failed; same bits."""
    step, seen = AdversarialStage.train_step, []

    def looking(*args, **kwargs):
        seen.append(torch.are_deterministic_algorithms_enabled())
        return step(*args, **kwargs)

    monkeypatch.setattr(AdversarialStage, "train_step", looking)
    run = run_of(two_stages(deterministic=True), tmp_path / "run", only="base")
    assert seen == [True] * 4
    assert not torch.are_deterministic_algorithms_enabled()
    assert_same(run, trained)
    run_of(two_stages(iterations=1), tmp_path / "other", only="base")
    assert seen == [True] * 4 + [False]
    monkeypatch.setattr(AdversarialStage, "train_step", lambda *args, **kwargs: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run_of(two_stages(deterministic=True), tmp_path / "failing", only="base")
    assert not torch.are_deterministic_algorithms_enabled()


class Unpooling(Discriminator):
    """A score by way of an operation that has no deterministic kernel, on CPUs either."""

    def __init__(self, clip, view=None, classes=None) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(0.3))

    def forward(self, x, y=None, x_l=None):
        pooled, places = nn.functional.max_pool2d(x.flatten(1, 2), 2, return_indices=True)
        return self.weight * nn.functional.max_unpool2d(pooled, places, 2).mean((2, 3))


def test_no_deterministic_kernel(tmp_path, monkeypatch):
    """One line with the field, the stage and torch's name of the operation; without the option it trains."""
    monkeypatch.setitem(DISCRIMINATORS._classes.module_dict, "Unpooling", Unpooling)
    DISCRIMINATORS.register(Unpooling)
    base = base_stage(Clip(4, 4, 4, stride=2), discriminators={"only": use("Unpooling")})
    experiment = two_stages(iterations=1, deterministic=True)
    graph = attrs.evolve(experiment.graph, stages=(base, experiment.graph["full"]))
    experiment = attrs.evolve(experiment, graph=graph)
    with pytest.raises(InputError) as caught:
        run_of(experiment, tmp_path / "run", only="base")
    [problem] = caught.value.problems
    assert (problem.where, problem.allowed) == ("training.deterministic", "false")
    assert problem.what.startswith("base computes max_unpool")
    training = attrs.evolve(experiment.training, deterministic=False)
    assert run_of(attrs.evolve(experiment, training=training), tmp_path / "run", only="base")


# Which checkpoints are kept


def kept(run: RunFolder) -> list[int]:
    """Iterations of the checkpoints that are there, each with its manifest."""
    folder = run.checkpoints("base")
    manifests, files = (sorted(int(path.stem[5:]) for path in folder.glob(f"iter_*.{end}")) for end in ("json", "pt"))
    assert manifests == files
    return files


@pytest.mark.parametrize("keep", [1, 3])
def test_the_last_checkpoints_are_kept(tmp_path, keep):
    """As many as asked for."""
    run = run_of(two_stages(iterations=5, checkpoint_every=1, keep_checkpoints=keep), tmp_path / "run", only="base")
    assert kept(run) == list(range(6 - keep, 6))


@pytest.mark.parametrize("direction", ["min", "max"])
def test_the_best_checkpoint_is_kept(tmp_path, direction):
    """That of the smallest, or largest, value in metrics.jsonl, besides the last; also when cut off and taken up."""
    options = {"iterations": 7, "checkpoint_every": 1, "keep_checkpoints": 1, "keep_best": f"{direction}:loss_D"}
    run = run_of(two_stages(**options), tmp_path / "run", only="base")
    lines = metrics_of(run, "base")
    best = (min if direction == "min" else max)(lines, key=lambda line: line["loss_D"])["iteration"]
    assert kept(run) == sorted({best, 7})
    again = interrupted(two_stages(**options), tmp_path / "again", 5, only="base")
    assert kept(again) == kept(run)


def test_the_best_of_an_unknown_metric_is_refused(tmp_path):
    """At the first line of metrics, with those that there are and the nearest; before a checkpoint is written."""
    with pytest.raises(InputError) as caught:
        run_of(two_stages(keep_best="min:los_D"), tmp_path / "run", only="base")
    line = str(caught.value)
    assert line.startswith("training.keep_best: no metric is called 'los_D'; allowed: ")
    assert "temporal/real" in line
    assert line.endswith("did you mean 'loss_D'?")
    assert not list((tmp_path / "run").rglob("*.pt"))


def test_the_penalty_reaches_through_attention(tmp_path):
    """Discriminators with attention have gradients of gradients when asked for; recomputed, they are the same bits."""
    attention = {"attention": [4]}
    discriminators = {
        "spatial": use("SpatialDiscriminator", **DISCRIMINATOR, **attention),
        "temporal": use("TemporalDiscriminator", **DISCRIMINATOR, **attention),
    }
    runs = [
        run_of(
            two_stages(full={"discriminators": discriminators}, r1=0.5, activation_checkpointing=recomputed),
            tmp_path / str(recomputed),
        )
        for recomputed in (False, True)
    ]
    assert_same(*runs, stages=("full",))
    assert all(line["r1"] > 0 for line in metrics_of(runs[0], "full"))
