"""Stages in a row: windows of the whole, from no more of the earlier stages than they need."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from stage_makers import make_cascade
from tiny_runs import GENERATOR, base_stage, upsampling_stage

from components.clip import Clip, Span
from components.layers import standing_statistics
from framework import StageGraph, use
from framework.cascade import Cascade, unroll

CLASSES = 3


def make(*temporal_layers: str, frames: int = 2, multipliers=(2, 1), classes: int | None = CLASSES) -> Cascade:
    """A base of ``frames`` frames at 4x4 and, for each temporal layer, a stage of twice the frames and pixels."""
    clip = Clip(frames, 4, 4, stride=2 ** len(temporal_layers))
    stages = [base_stage(clip)]
    for number, layer in enumerate(temporal_layers):
        clip = Clip(2 * clip.frames, 2 * clip.height, 2 * clip.width, stride=clip.stride // 2)
        options = {**GENERATOR, "multipliers": [*multipliers, 1][: max(len(multipliers), number + 1)]}
        stages.append(
            upsampling_stage(
                f"up{number}",
                stages[-1].name,
                clip,
                generator=use("UpsamplingGenerator", **options, temporal_layer=layer),
            )
        )
    cascade = make_cascade(StageGraph(clip=clip, classes=classes, stages=stages), stages[-1].name)
    for link in cascade.links:
        link.generator.double()
    return cascade


def inputs(cascade: Cascade, classes: int | None = CLASSES):
    noise = [z.double() for z in cascade.noise(2)]
    return noise, None if classes is None else torch.tensor([2, 0])


def record(monkeypatch, cascade: Cascade) -> dict[str, list[tuple[int, int, int]]]:
    """For every stage: the frames it was asked for, of how many."""
    asked = {link.name: [] for link in cascade.links}
    for link in cascade.links:

        def forward(z, y, x_l, span, name=link.name, original=link.generator.forward):
            asked[name].append((span.start, span.stop, span.total))
            return original(z, y, x_l, span)

        monkeypatch.setattr(link.generator, "forward", forward)
    return asked


LAYERS = st.lists(st.sampled_from(["separable", "convgru", "resnet3d"]), min_size=1, max_size=2)


@settings(max_examples=12, deadline=None)
@given(layers=LAYERS, frames=st.integers(1, 4), seed=st.integers(0, 2**31), data=st.data())
def test_frames_are_cut_out_of_the_videos(layers, frames, seed, data):
    """Of two and three stages, any frames equal those of the whole videos of the same noise and classes."""
    torch.manual_seed(seed)
    cascade = make(*layers, frames=frames)
    noise, y = inputs(cascade)
    total = cascade.clip.frames
    start = data.draw(st.integers(0, total - 1))
    span = Span(start, data.draw(st.integers(start + 1, total)), total)
    whole = cascade.videos(noise, y)
    assert list(whole) == [link.name for link in cascade.links]
    for link in cascade.links:
        assert whole[link.name].shape == link.clip.shape(2)
    last = whole[cascade.links[-1].name]
    assert last.std() > 0.01
    torch.testing.assert_close(cascade.frames(noise, y, span), last[:, start : span.stop])


def test_every_stage_uses_its_own_noise():
    """The first noise changes every stage's video; the last one changes the last stage's alone."""
    cascade = make("separable", "separable")
    noise, y = inputs(cascade)
    before = cascade.videos(noise, y)
    after_first = cascade.videos([-noise[0], *noise[1:]], y)
    after_last = cascade.videos([*noise[:2], -noise[2]], y)
    assert not any(torch.allclose(before[name], after_first[name]) for name in before)
    assert [name for name in before if not torch.equal(before[name], after_last[name])] == ["up1"]


def test_earlier_stages_make_what_is_needed_and_no_more(monkeypatch):
    """Two separable stages of two units reach one output frame to each side: the frames asked for, by hand."""
    cascade = make("separable", "separable", frames=8)
    asked = record(monkeypatch, cascade)
    noise, y = inputs(cascade)
    cascade.frames(noise, y, Span(14, 16, 32))
    # 13..17 of 32 are made of 6..9 of 16, whose 5..10 are made of 2..5 of 8.
    assert asked == {"base": [(2, 5, 8)], "up0": [(6, 9, 16)], "up1": [(14, 16, 32)]}


def test_a_recurrent_stage_needs_all_the_past(monkeypatch):
    """A stage of ConvGRUs asks its source for every frame up to the last wanted one, and for none after."""
    cascade = make("convgru", frames=8)
    asked = record(monkeypatch, cascade)
    noise, y = inputs(cascade)
    cascade.frames(noise, y, Span(10, 11, 16))
    assert asked == {"base": [(0, 6, 8)], "up0": [(10, 11, 16)]}


def test_a_cascade_is_frozen():
    """Generators put into a cascade are in evaluation mode without gradients, and what they make has none."""
    cascade = make("separable")
    generators = [link.generator.train().requires_grad_(True) for link in cascade.links]
    cascade = Cascade(cascade.links)
    assert not any(generator.training for generator in generators)
    assert not any(parameter.requires_grad for generator in generators for parameter in generator.parameters())
    noise, y = inputs(cascade)
    assert not cascade.videos(noise, y)["up0"].requires_grad
    assert cascade.clip == Clip(4, 8, 8)


@pytest.mark.parametrize("sigma", [0.0, 0.5, 1.0])
def test_noise_has_the_asked_deviation(sigma):
    """Noise is N(0, sigma²), a row per sample, a tensor per stage."""
    cascade = make("separable")
    noise = cascade.noise(4000, sigma)
    assert [z.shape for z in noise] == [(4000, 4), (4000, 4)]
    for z in noise:
        assert z.std().item() == pytest.approx(sigma, abs=0.02)
    assert sigma == 0 or not torch.equal(noise[0], noise[1])


def test_an_unconditional_cascade():
    """Without classes, y is None."""
    cascade = make("separable", classes=None)
    noise, y = inputs(cascade, None)
    assert cascade.videos(noise, y)["up0"].shape == (2, 4, 3, 8, 8)


@settings(deadline=None, max_examples=15)
@given(st.sampled_from(["separable", "convgru", "resnet3d"]), st.integers(1, 16))
def test_unrolled_in_windows_is_the_whole_video(layer, window):
    """Windows of any length give the frames that one run over the whole video gives."""
    link = make(layer, frames=8).links[-1]
    z, y, x_l = torch.randn(2, 4).double(), torch.tensor([0, 1]), torch.rand(2, 8, 3, 4, 4).double() * 2 - 1
    with torch.no_grad():
        whole = link.generator(z, y, x_l, Span.whole(16))
    torch.testing.assert_close(unroll(link.generator, z, y, x_l, 16, window), whole, atol=1e-4, rtol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("window", [1, 3, 8])
def test_statistics_estimated_in_windows_are_those_of_whole_videos(window):
    """Frames beside a window are met more than once, always with the same values: the means stay."""
    generator = make("separable", frames=8).links[-1].generator
    assert generator.statistics_in_windows
    z, y, x_l = torch.randn(3, 2, 4).double(), torch.tensor([0, 1]), torch.rand(3, 2, 8, 3, 4, 4).double() * 2 - 1
    with standing_statistics(generator, 16):
        for number in range(3):
            generator(z[number], y, x_l[number], Span.whole(16))
    expected = {name: value.clone() for name, value in generator.state_dict().items() if "running" in name}
    with standing_statistics(generator, 16):
        for number in range(3):
            unroll(generator, z[number], y, x_l[number], 16, window)
    found = generator.state_dict()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, atol=1e-4, rtol=1e-4)
