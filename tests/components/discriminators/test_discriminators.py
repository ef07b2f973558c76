"""What each discriminator looks at, what it scores, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from components.clip import Clip
from components.discriminators import (
    Discriminator,
    MatchingDiscriminator,
    SpatialDiscriminator,
    TemporalDiscriminator,
    TimmDiscriminator,
)
from components.views import AreaView, NearestView
from registry import DISCRIMINATORS, InputError, use

CLIP = Clip(frames=10, height=16, width=16)
SMALL = {"channels": 4, "multipliers": (1, 2)}
VIEW = NearestView(time=2, space=2)
CLASSES = 3
STAGE_1 = {"channels": 128, "multipliers": (2, 4, 8, 16, 16)}
KINETICS = {"channels": 96, "multipliers": (1, 2, 4, 8, 16, 16)}
BDD = {"channels": 64, "multipliers": (1, 2, 4, 8, 8, 16)}


def videos(clip: Clip = CLIP, batch: int = 2, seed: int = 0) -> Tensor:
    """Values spread over all of [-1, 1]."""
    return torch.rand(clip.shape(batch), generator=torch.Generator().manual_seed(seed)) * 2 - 1


def spatial(classes: int | None = None) -> Discriminator:
    return SpatialDiscriminator(CLIP, classes, frames=4, **SMALL)


def temporal(classes: int | None = None) -> Discriminator:
    return TemporalDiscriminator(CLIP, classes, **SMALL)


def matching(classes: int | None = None) -> Discriminator:
    return MatchingDiscriminator(CLIP, VIEW, classes, **SMALL)


def timm(classes: int | None = None) -> Discriminator:
    return TimmDiscriminator(CLIP, classes, backbone="test_convnext", frames=4)


def test_attention_looks_at_other_frames_in_temporal_networks_alone() -> None:
    """A spatial score hangs on one frame still; a temporal and a matching one on all frames of the clip."""
    options = {**SMALL, "attention": (4,)}
    makers = (SpatialDiscriminator(CLIP, frames=10, **options), TemporalDiscriminator(CLIP, **options))
    for network in (*makers, MatchingDiscriminator(CLIP, VIEW, **options)):
        for module in network.eval().modules():
            if hasattr(module, "gain"):
                torch.nn.init.constant_(module.gain, 0.5)
        x = videos(batch=1).requires_grad_()
        (gradient,) = torch.autograd.grad(network(x, x_l=VIEW(videos(batch=1)))[0, 0], x)
        frames = int((gradient[0].abs().sum(dim=(1, 2, 3)) > 0).sum())
        assert frames == {SpatialDiscriminator: 1, TemporalDiscriminator: 10, MatchingDiscriminator: 5}[type(network)]


EVERY = pytest.mark.parametrize("make", [spatial, temporal, matching, timm])


@pytest.mark.parametrize(
    ("clip", "source", "classes", "options"),
    [
        (Clip(25, 32, 32), None, 600, STAGE_1),
        (Clip(12, 128, 128), Clip(6, 32, 32), 600, KINETICS),
        (Clip(12, 64, 64), Clip(6, 32, 32), None, BDD),
        (Clip(12, 128, 128), Clip(6, 64, 64), None, BDD),
    ],
    ids=str,
)
def test_paper_sizes(clip: Clip, source: Clip | None, classes: int | None, options: dict) -> None:
    """At the paper's sizes and widths: min(8, T) spatial scores, a temporal score per frame, sums over 4x4."""
    with torch.device("meta"):
        x, y = torch.empty(clip.shape(2)), None if classes is None else torch.zeros(2, dtype=torch.long)
        networks = [SpatialDiscriminator(clip, classes, **options), TemporalDiscriminator(clip, classes, **options)]
        assert networks[0](x, y).shape == (2, min(8, clip.frames))
        assert networks[1](x, y).shape == (2, clip.frames)
        if source is not None:
            view = NearestView(time=clip.frames // source.frames, space=clip.height // source.height)
            networks.append(MatchingDiscriminator(clip, view, classes, **options))
            assert networks[2](x, y, torch.empty(source.shape(2))).shape == (2, source.frames)
    for network in networks:
        assert network.trunk.final_size == (4, 4)
        assert network.trunk.features == options["channels"] * options["multipliers"][-1]


def test_stage_1_defaults_are_the_papers() -> None:
    """Named alone in a spec, the networks have stage 1's widths, and the matching one those of Kinetics."""
    for name, expected in [
        ("SpatialDiscriminator", STAGE_1),
        ("TemporalDiscriminator", STAGE_1),
        ("MatchingDiscriminator", KINETICS),
    ]:
        options = DISCRIMINATORS.options(name)
        assert {key: options[key].default for key in expected} == expected


@EVERY
def test_projection_is_added_to_the_linear_score(make: Callable[..., Discriminator]) -> None:
    """Conditional scores are w . h + b + <e_y, h>, recomputed from the features h and the normalised weights."""
    network = make(CLASSES).eval()
    seen: list[Tensor] = []
    network.head.register_forward_pre_hook(lambda head, inputs: seen.append(inputs[0]))
    y = torch.tensor([2, 0])
    with torch.no_grad():
        torch.nn.init.constant_(network.head.linear.bias, 0.25)
        scores = network(videos(), y, videos(VIEW.clip(CLIP)))
        h, w, e = seen[0].double(), network.head.linear.weight.double(), network.head.embedding.weight.double()
        expected = torch.einsum("bkd,d->bk", h, w[0]) + 0.25 + torch.einsum("bkd,bd->bk", h, e[y])
    torch.testing.assert_close(scores.double(), expected, rtol=1e-4, atol=1e-4)
    assert torch.linalg.matrix_norm(e, 2).item() == pytest.approx(1, abs=0.2)


@EVERY
def test_every_parameter_is_trained(make: Callable[..., Discriminator]) -> None:
    """A backward pass reaches every parameter and the video: nothing in a network is left over."""
    network = make(CLASSES)
    x = videos(batch=CLASSES).requires_grad_()
    network(x, torch.arange(CLASSES), videos(VIEW.clip(CLIP), batch=CLASSES)).square().sum().backward()
    assert [name for name, parameter in network.named_parameters() if parameter.grad is None] == []
    assert x.grad.abs().sum() > 0


def test_spatial_scores_frames_one_by_one() -> None:
    """Each score depends on exactly one frame; the frames are different ones."""
    network = spatial().eval()
    x = videos(batch=1).requires_grad_()
    scores = network(x)
    frames = []
    for score in scores[0]:
        (gradient,) = torch.autograd.grad(score, x, retain_graph=True)
        frames += gradient[0].abs().sum(dim=(1, 2, 3)).nonzero().flatten().tolist()
    assert len(frames) == len(set(frames)) == 4


@pytest.mark.parametrize("make", [spatial, timm])
def test_identical_frames_get_identical_scores(make: Callable[..., Discriminator]) -> None:
    """A frame-wise network cannot tell the frames of a frozen clip apart, whichever it samples."""
    frozen = videos()[:, :1].expand(CLIP.shape(2))
    scores = make().eval()(frozen)
    torch.testing.assert_close(scores, scores[:, :1].expand_as(scores))
    assert (scores[0, 0] - scores[1, 0]).abs() > 1e-6


def test_spatial_samples_anew_and_by_the_global_generator() -> None:
    """Two calls look at different frames; the same seed gives the same frames."""
    network = spatial().eval()
    x = videos()
    torch.manual_seed(1)
    first, second = network(x), network(x)
    torch.manual_seed(1)
    assert torch.equal(network(x), first)
    assert not torch.equal(first, second)


def test_temporal_field_of_view() -> None:
    """Four convolutions of three frames see four frames to each side, and no more."""
    network = temporal().eval()
    x = videos(batch=1).requires_grad_()
    (gradient,) = torch.autograd.grad(network(x)[0, 2], x)
    assert gradient[0].abs().sum(dim=(1, 2, 3)).nonzero().flatten().tolist() == list(range(7))


def test_temporal_looks_at_the_pooled_video() -> None:
    """A change that leaves every 2x2 mean alone leaves the scores alone; with no pooling it does not."""
    pattern = torch.tensor([[0.3, -0.3], [-0.3, 0.3]]).repeat(8, 8)
    x = videos() * 0.5
    pooled, unpooled = temporal().eval(), TemporalDiscriminator(CLIP, pool=1, **SMALL).eval()
    torch.testing.assert_close(pooled(x + pattern), pooled(x), rtol=1e-3, atol=1e-4)
    assert (unpooled(x + pattern) - unpooled(x)).abs().max() > 1e-3


@pytest.mark.parametrize(("frames", "expected"), [(4, 1), (7, 1), (9, 2), (12, 3)])
def test_temporal_pooling_halves_twice(frames: int, expected: int) -> None:
    """With `temporal_pooling` both 3-D blocks halve the frames, a last odd one dropped."""
    clip = Clip(frames, 8, 8)
    assert TemporalDiscriminator(clip, temporal_pooling=True, **SMALL)(videos(clip)).shape == (2, expected)


def test_matching_sees_both_videos() -> None:
    """Changing either of x and x_l changes the scores, and gradient reaches x through the view alone."""
    network = matching().eval()
    x, x_l = videos().requires_grad_(), VIEW(videos())
    scores = network(x, x_l=x_l)
    assert not torch.allclose(network(videos(seed=1), x_l=x_l), scores)
    assert not torch.allclose(network(x, x_l=x_l.flip(1)), scores)
    scores.sum().backward()
    kept = torch.zeros(CLIP.shape(1), dtype=torch.bool)
    kept[:, ::2, :, ::2, ::2] = True
    assert (x.grad != 0).any()
    assert not x.grad[~kept.expand_as(x)].any()


def test_matching_compares_by_the_stages_view() -> None:
    """The first 3-D block gets view(x) beside x_l, for another view than the paper's too."""
    view = AreaView(time=5, space=2)
    network = MatchingDiscriminator(CLIP, view, **SMALL)
    seen: list[Tensor] = []
    network.trunk.register_forward_pre_hook(lambda trunk, inputs: seen.append(inputs[0]))
    x, x_l = videos(), videos(view.clip(CLIP))
    network(x, x_l=x_l)
    assert torch.equal(seen[0][:, :, :3], view(x))
    assert torch.equal(seen[0][:, :, 3:], x_l)


def test_matching_needs_a_source() -> None:
    """A base stage has no view, so no matching discriminator."""
    with pytest.raises(InputError, match="needs a stage with a source"):
        DISCRIMINATORS.build(use("MatchingDiscriminator"), clip=CLIP, view=None, classes=None)


@EVERY
@pytest.mark.parametrize(
    ("change", "argument"),
    [
        ({"x": torch.zeros(2, 10, 3, 16, 8)}, "x"),
        ({"x": torch.zeros(2, 9, 3, 16, 16)}, "x"),
        ({"x": torch.zeros(2, 3, 16, 16)}, "x"),
        ({"y": None}, "y"),
        ({"y": torch.zeros(3, dtype=torch.long)}, "y"),
        ({"y": torch.zeros(2)}, "y"),
    ],
)
def test_wrong_inputs_are_refused(make: Callable[..., Discriminator], change: dict, argument: str) -> None:
    """A wrong shape of x or y, or a missing y, is an error that names the argument and the shape expected."""
    inputs = {"x": videos(), "y": torch.tensor([0, 1]), "x_l": VIEW(videos())}
    network = make(CLASSES)
    network(**inputs)
    with pytest.raises(InputError, match="shape \\(") as error:
        network(**(inputs | change))
    assert error.value.problems[0].where == argument


@EVERY
def test_classes_are_refused_when_unconditional(make: Callable[..., Discriminator]) -> None:
    """Class indices for an unconditional network are an error on y."""
    with pytest.raises(InputError, match=r"^y: "):
        make()(videos(), torch.tensor([0, 1]), VIEW(videos()))


@pytest.mark.parametrize("x_l", [None, torch.zeros(2, 5, 3, 4, 8), torch.zeros(1, 5, 3, 8, 8), torch.zeros(2, 5, 3, 8)])
def test_wrong_low_resolution_videos_are_refused(x_l: Tensor | None) -> None:
    """A missing x_l, or one of a shape other than the view's, is an error that states that shape."""
    with pytest.raises(InputError, match=r"^x_l: .*\(2, 5, 3, 8, 8\)$"):
        matching()(videos(), x_l=x_l)


@pytest.mark.parametrize(
    ("network", "options", "where"),
    [
        (SpatialDiscriminator, {"multipliers": ()}, "multipliers"),
        (TemporalDiscriminator, {"pool": 3}, "pool"),
        (TemporalDiscriminator, {"temporal_pooling": True}, "temporal_pooling"),
        (SpatialDiscriminator, {"attention": (16,)}, "attention"),
        (TemporalDiscriminator, {"attention": (8,)}, "attention"),
    ],
)
def test_impossible_options_are_refused(network: type[Discriminator], options: dict, where: str) -> None:
    """Options that do not fit the clip are errors under their names."""
    with pytest.raises(InputError) as error:
        network(Clip(3, 16, 16), **(SMALL | options))
    assert [problem.where for problem in error.value.problems] == [where]
