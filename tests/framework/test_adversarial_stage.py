"""The game of one stage: what the pairs are made of, who learns from what, and by which formulas."""

import numpy as np
import pytest
import torch
from mmengine.optim import OptimWrapperDict
from stage_makers import make_batch, make_stage
from tiny_runs import DISCRIMINATOR, QUICK, base_stage, upsampling_stage
from torch import nn

from components.clip import Clip, FieldOfView, Span
from components.discriminators import Discriminator
from components.generators import Generator
from framework import StageGraph, use
from framework.runner import make_optimizers
from framework.update import NetworkOptimizer
from registry import DISCRIMINATORS, GENERATORS, Positive

BATCH, CLASSES = 3, 4
WINDOW = Clip(4, 8, 8)


class RecordingDiscriminator(Discriminator):
    """Remembers what it is shown; the score of a frame is ``weight`` times the mean of its pixels."""

    def __init__(self, clip, view=None, classes=None, *, repeats: Positive = 1) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(0.7))
        self.repeats = repeats
        self.calls = []
        self.scores = []

    def forward(self, x, y=None, x_l=None):
        self.calls.append((x.detach().clone(), y, None if x_l is None else x_l.detach().clone()))
        scores = self.weight * x.mean(dim=(2, 3, 4)).repeat(1, self.repeats)
        self.scores.append(scores.detach().clone())
        return scores


class ConstantGenerator(Generator):
    """Every pixel of every video is one learned number."""

    noise_dim = 1
    field_of_view = FieldOfView()

    def __init__(self, clip) -> None:
        super().__init__()
        self.clip = clip
        self.value = nn.Parameter(torch.tensor(0.3))

    def forward(self, z, y=None, x_l=None, span=None):
        return self.value.expand(self.clip.shape(len(z)))


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    """The two classes above can be named in a graph, for as long as a test lasts."""
    for kind, cls in ((DISCRIMINATORS, RecordingDiscriminator), (GENERATORS, ConstantGenerator)):
        monkeypatch.setitem(kind._classes.module_dict, cls.__name__, cls)
        kind.register(cls)


def make_graph(classes=CLASSES, temporal_layer="separable", **recording) -> StageGraph:
    full = {
        "generator": use(
            "UpsamplingGenerator",
            channels=2,
            multipliers=[2, 1],
            noise_dim=4,
            embedding_dim=3,
            temporal_layer=temporal_layer,
        ),
        "discriminators": {
            "recording": use("RecordingDiscriminator", **recording),
            "matching": use("MatchingDiscriminator", **DISCRIMINATOR),
        },
    }
    stages = [base_stage(Clip(4, 4, 4, stride=2)), upsampling_stage("full", "base", Clip(8, 8, 8), **full)]
    return StageGraph(clip=Clip(8, 8, 8), classes=classes, stages=stages)


def spy(monkeypatch, target, method):
    """The results of ``target.method``, gathered as it is called."""
    original, results = getattr(target, method), []

    def call(*args, **kwargs):
        results.append(original(*args, **kwargs))
        return results[-1]

    monkeypatch.setattr(target, method, call)
    return results


def snapshot(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def changed(module: nn.Module, before: dict[str, torch.Tensor]) -> list[str]:
    return [name for name, value in module.state_dict().items() if not torch.equal(value, before[name])]


@pytest.mark.parametrize("temporal_layer", ["separable", "convgru"])
def test_fake_pairs_stand_on_the_frozen_sources(monkeypatch, temporal_layer):
    """x̂_l is the source's whole video, made by itself of the same noise, cut to the window; every window occurs."""
    stage = make_stage(make_graph(temporal_layer=temporal_layer), "full").train()
    noises, windows = spy(monkeypatch, stage.sources, "noise"), spy(monkeypatch, stage.data, "draw_window")
    [base] = stage.sources.links
    inputs = []
    stage.generator.register_forward_pre_hook(lambda module, args: inputs.append(args))
    y = torch.tensor([0, 3, 1])
    for _ in range(20):
        fake = stage.fake(y, stage.draw(BATCH))
        with torch.no_grad():
            whole = base.generator(noises[-1][0], y, None, Span.whole(4))
        start = windows[-1].start // 2
        torch.testing.assert_close(fake.x_l, whole[:, start : start + 2])
        assert torch.equal(inputs[-1][2], fake.x_l)
        assert fake.x.shape == WINDOW.shape(BATCH)
        assert fake.y is y
    assert {(window.start, window.stop, window.total) for window in windows} == {(0, 4, 8), (2, 6, 8), (4, 8, 8)}
    assert not torch.equal(noises[0][0], noises[1][0])


def test_real_pairs_are_a_window_and_its_view():
    """Real x is the loader's frames scaled to [-1, 1], x_l every second frame, row and column of it."""
    stage = make_stage(make_graph(), "full")
    batch = make_batch(WINDOW, BATCH, CLASSES)
    real = stage.real(batch)
    expected = batch["frames"].numpy().transpose(0, 1, 4, 2, 3) / 127.5 - 1
    np.testing.assert_allclose(real.x.numpy(), expected, atol=1e-6)
    np.testing.assert_allclose(real.x_l.numpy(), expected[:, ::2, :, ::2, ::2], atol=1e-6)
    assert real.y.tolist() == batch["label"].tolist()


def test_discriminators_see_both_pairs_whole():
    """Two updates on two different real batches, then one of the generator; each with its own x_l and labels."""
    stage = make_stage(make_graph(), "full").train()
    batches = [make_batch(WINDOW, BATCH, CLASSES, seed) for seed in (1, 2)]
    fakes = []
    make_fake = stage.fake

    def remember(*args):
        fakes.append(make_fake(*args))
        return fakes[-1]

    stage.fake = remember
    optimizers = make_optimizers(stage, QUICK)
    stage.train_step(batches, optimizers)
    calls = stage.discriminators["recording"].calls
    assert [len(x) for x, _, _ in calls] == [2 * BATCH, 2 * BATCH, BATCH]
    for (x, y, x_l), batch, fake in zip(calls, batches, fakes, strict=False):
        real = stage.real(batch)
        assert torch.equal(x, torch.cat([real.x, fake.x]))
        assert torch.equal(x_l, torch.cat([real.x_l, fake.x_l]))
        assert y.tolist() == batch["label"].tolist() * 2
    x, y, x_l = calls[2]
    assert torch.equal(x, fakes[2].x.detach())
    assert torch.equal(x_l, fakes[2].x_l)
    assert y.tolist() == batches[1]["label"].tolist()
    steps = {name: {int(s["step"]) for s in o.optimizer.state.values()} for name, o in optimizers.items()}
    assert steps == {"generator": {1}, "discriminator": {2}}


def test_unconditional_discriminators_see_no_labels():
    """Without classes every y is None."""
    stage = make_stage(make_graph(classes=None), "full").train()
    stage.train_step([make_batch(WINDOW, BATCH, None)], make_optimizers(stage, QUICK))
    assert [y for _, y, _ in stage.discriminators["recording"].calls] == [None, None]


def test_base_stage_has_no_low_resolution_video():
    """In the base stage pairs are just videos of its own window."""
    graph = StageGraph(
        clip=Clip(4, 4, 4),
        classes=CLASSES,
        stages=[base_stage(Clip(4, 4, 4), window=3, discriminators={"only": use("RecordingDiscriminator")})],
    )
    stage = make_stage(graph, "base").train()
    stage.train_step([make_batch(Clip(3, 4, 4), BATCH, CLASSES)], make_optimizers(stage, QUICK))
    assert [(x.shape[1], x_l) for x, _, x_l in stage.discriminators["only"].calls] == [(3, None), (3, None)]


def test_sources_stay_as_they_are():
    """Nothing of a source is a parameter, in the state, in training mode, given a gradient, or changed by a step."""
    stage = make_stage(make_graph(), "full")
    [base] = stage.sources.links
    before, own = snapshot(base.generator), snapshot(stage.generator)
    stage.train()
    assert stage.generator.training
    assert not any(module.training for module in base.generator.modules())
    theirs = {id(parameter) for parameter in base.generator.parameters()}
    assert theirs.isdisjoint(map(id, stage.parameters()))
    assert {name.partition(".")[0] for name in stage.state_dict()} == {"generator", "discriminators"}
    assert not any(module is base.generator for module in stage.modules())
    stage.train_step([make_batch(WINDOW, BATCH, CLASSES)] * 2, make_optimizers(stage, QUICK))
    assert not any(module.training for module in base.generator.modules())
    assert changed(base.generator, before) == []
    assert all(parameter.grad is None for parameter in base.generator.parameters())
    assert set(changed(stage.generator, own)) >= {name for name, _ in stage.generator.named_parameters()}


def test_the_generators_update_leaves_discriminators_alone():
    """After it they have no gradient and the same weights, and can learn again; only spectral norm's vectors move."""
    stage = make_stage(make_graph(), "full").train()
    optimizers = make_optimizers(stage, QUICK)
    stage.update_D(make_batch(WINDOW, BATCH, CLASSES), optimizers["discriminator"])
    before = snapshot(stage.discriminators)
    stage.update_G(make_batch(WINDOW, BATCH, CLASSES), optimizers["generator"])
    assert all(parameter.grad is None for parameter in stage.discriminators.parameters())
    assert all(parameter.requires_grad for parameter in stage.discriminators.parameters())
    assert {name.rpartition(".")[2] for name in changed(stage.discriminators, before)} <= {"u", "v"}


def test_the_discriminators_update_leaves_the_generator_alone():
    """After it the generator has no gradient and the same weights; only statistics and singular vectors moved."""
    stage = make_stage(make_graph(), "full").train()
    before = snapshot(stage.generator)
    stage.update_D(make_batch(WINDOW, BATCH, CLASSES), make_optimizers(stage, QUICK)["discriminator"])
    assert all(parameter.grad is None for parameter in stage.generator.parameters())
    assert set(changed(stage.generator, before)).isdisjoint(name for name, _ in stage.generator.named_parameters())


def test_what_a_discriminator_froze_itself_stays_frozen():
    """A parameter that its own module does not train is not trained after the generator's update either."""
    stage = make_stage(make_graph(), "full").train()
    frozen = stage.discriminators["recording"].weight.requires_grad_(False)
    optimizers = make_optimizers(stage, QUICK)
    for _ in range(2):
        stage.train_step([make_batch(WINDOW, BATCH, CLASSES)], optimizers)
    assert not frozen.requires_grad
    assert frozen.item() == pytest.approx(0.7)


def test_losses_are_the_geometric_hinge_of_all_scores():
    """Both losses, by numpy on the scores that two discriminators gave: a mean over all outputs, not over means."""
    graph = make_graph()
    both = {"one": use("RecordingDiscriminator"), "many": use("RecordingDiscriminator", repeats=5)}
    stages = [graph["base"], upsampling_stage("full", "base", Clip(8, 8, 8), discriminators=both)]
    stage = make_stage(StageGraph(clip=graph.clip, classes=CLASSES, stages=stages), "full").train()
    with torch.no_grad():
        stage.discriminators["many"].weight.fill_(-3.0)
    log = stage.train_step([make_batch(WINDOW, BATCH, CLASSES)], make_optimizers(stage, QUICK))
    first, last = (
        np.concatenate([d.scores[call].numpy() for d in stage.discriminators.values()], axis=1) for call in (0, 1)
    )
    assert first.shape == (2 * BATCH, 4 + 20)
    real, fake = first[:BATCH], first[BATCH:]
    expected = np.maximum(0, 1 - real).mean() + np.maximum(0, 1 + fake).mean()
    assert log["loss_D"].item() == pytest.approx(expected, abs=1e-6)
    assert log["loss_G"].item() == pytest.approx(-last.mean(), abs=1e-6)
    assert log["many/real"].item() == pytest.approx(real[:, 4:].mean(), abs=1e-6)
    assert log["one/fake"].item() == pytest.approx(fake[:, :4].mean(), abs=1e-6)


def test_one_iteration_by_hand():
    """Two D steps and a G step of plain gradient descent on a score ``a * mean(x)`` and videos ``x = b``."""
    graph = StageGraph(
        clip=Clip(4, 4, 4),
        stages=[
            base_stage(
                Clip(4, 4, 4),
                generator=use("ConstantGenerator"),
                discriminators={"only": use("RecordingDiscriminator")},
            )
        ],
    )
    stage = make_stage(graph, "base").train()
    rate = 0.1
    optimizers = OptimWrapperDict(
        generator=NetworkOptimizer(torch.optim.SGD(stage.generator.parameters(), lr=rate), "generator"),
        discriminator=NetworkOptimizer(torch.optim.SGD(stage.discriminators.parameters(), lr=rate), "discriminator"),
    )
    batches = [make_batch(graph.clip, BATCH, None, seed) for seed in (1, 2)]
    batches[1]["frames"][:] = 255  # 1 everywhere
    stage.train_step(batches, optimizers)
    a, b = 0.7, 0.3
    for batch in batches:
        real = (batch["frames"].numpy() / 127.5 - 1).mean(axis=(2, 3, 4))
        gradient = np.where(a * real < 1, -real, 0).mean() + (b if a * b > -1 else 0)
        a -= rate * gradient
    b += rate * a
    assert stage.discriminators["only"].weight.item() == pytest.approx(a, abs=1e-6)
    assert stage.generator.value.item() == pytest.approx(b, abs=1e-6)
