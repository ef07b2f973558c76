"""Videos in pieces: equal to the whole for any depth, window and length, from a bounded number of frames."""

from itertools import pairwise

import attrs
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from stage_makers import ready
from test_cascade import inputs, make

from components.clip import Clip, Span
from components.generators import DVDGenerator, Generator, UpsamplingGenerator
from components.generators.streaming import regrouped
from components.layers import SeparableConv3d, batch_statistics
from components.layers.attention import AxialAttention
from components.views import NearestView
from framework.cascade import Cascade, Link

LAYER = st.sampled_from(["separable", "convgru", "resnet3d"])


def upsampling(layer: str, units: int, time: int, frames: int, seed: int) -> UpsamplingGenerator:
    """A generator of random weights, 4x4 to 8x8, with statistics of ``frames`` frames."""
    torch.manual_seed(seed)
    options = {"channels": 2, "multipliers": (2,) * units, "noise_dim": 4, "embedding_dim": 3}
    view, clip = NearestView(time=time, space=2), Clip(2 * time, 8, 8)
    generator = UpsamplingGenerator(clip, view, 3, temporal_layer=layer, **options)
    low = attrs.evolve(view.clip(clip), frames=-(-frames // time))
    return ready(generator, frames, low, 3).eval().double()


@settings(deadline=None, max_examples=40)
@given(
    layer=LAYER,
    units=st.integers(1, 4),
    time=st.integers(1, 3),
    length=st.integers(1, 12),
    window=st.integers(1, 9),
    cuts=st.lists(st.integers(1, 5), min_size=12, max_size=12),
    seed=st.integers(0, 2**31),
)
@torch.no_grad()
def test_an_upsampling_stage_in_pieces(layer, units, time, length, window, cuts, seed):
    """Whatever pieces the source comes in, the frames are those of one run over the whole video."""
    frames = max(1, length * time - seed % time)  # the last frames of the source need not be used up
    generator = upsampling(layer, units, time, frames, seed)
    z, y = torch.randn(2, 4).double(), torch.tensor([0, 2])
    x_l = torch.rand(2, length, 3, 4, 4).double() * 2 - 1
    whole = generator(z, y, x_l, Span.whole(frames))
    ends = [min(length, sum(cuts[:number])) for number in range(length + 1)]  # each piece of a length of its own
    pieces = [x_l[:, start:stop] for start, stop in pairwise(ends) if stop > start]
    streamed = torch.cat(list(generator.stream(z, y, iter(pieces), frames, window)), dim=1)
    assert whole.std() > 1e-3
    torch.testing.assert_close(streamed, whole, atol=1e-9, rtol=1e-9)


@settings(deadline=None, max_examples=15)
@given(units=st.integers(1, 3), frames=st.integers(1, 12), window=st.integers(1, 13), seed=st.integers(0, 2**31))
@torch.no_grad()
def test_a_base_stage_in_pieces(units, frames, window, seed):
    """The ConvGRUs' states are carried over: pieces of any length are the whole video."""
    torch.manual_seed(seed)
    options = {"channels": 2, "multipliers": (2,) * units, "noise_dim": 4, "embedding_dim": 3}
    generator = ready(DVDGenerator(Clip(frames, 8, 8), 3, **options), frames, None, 3).eval().double()
    z, y = torch.randn(2, 4).double(), torch.tensor([0, 2])
    whole = generator(z, y, None, Span.whole(frames))
    pieces = list(generator.stream(z, y, None, frames, window))
    assert [piece.shape[1] for piece in pieces[:-1]] == [window] * (len(pieces) - 1)
    torch.testing.assert_close(torch.cat(pieces, dim=1), whole, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("axes", [("time",), ("height", "width", "time")])
@torch.no_grad()
def test_attention_over_time_makes_a_video_in_one_piece(axes):
    """Of a base and of an upsampling stage, at another length than the clip's too: all frames at once, the same."""
    options = {"channels": 2, "multipliers": (2, 2), "noise_dim": 4, "embedding_dim": 3}
    options |= {"attention": (8,), "attention_axes": axes}
    torch.manual_seed(0)
    base = ready(DVDGenerator(Clip(4, 8, 8), 3, **options), 6, None, 3)
    view = NearestView(time=2, space=2)
    upper = ready(UpsamplingGenerator(Clip(4, 8, 8), view, 3, **options), 6, Clip(3, 4, 4), 3)
    z, y, x_l = torch.randn(2, 4).double(), torch.tensor([0, 2]), torch.rand(2, 3, 3, 4, 4).double()
    for generator, low, pieces in ((base, None, None), (upper, x_l, x_l.split(1, dim=1))):
        for module in generator.eval().double().modules():
            if isinstance(module, AxialAttention):
                torch.nn.init.constant_(module.gain, 0.5)
        [streamed] = generator.stream(z, y, pieces, 6, 2)
        torch.testing.assert_close(streamed, generator(z, y, low, Span.whole(6)), atol=1e-9, rtol=1e-9)


class Halo(UpsamplingGenerator):
    """A generator that only knows windows."""

    stream = Generator.stream


@settings(deadline=None, max_examples=10)
@given(layer=LAYER, length=st.integers(1, 9), window=st.integers(1, 7), cut=st.integers(1, 9))
@torch.no_grad()
def test_generators_that_only_know_windows_stream_too(layer, length, window, cut):
    """The interface's own way, for generators of users: the same frames, from windows and the frames beside them."""
    generator = upsampling(layer, 2, 2, 2 * length, 0)
    z, y = torch.randn(2, 4).double(), torch.tensor([0, 2])
    x_l = torch.rand(2, length, 3, 4, 4).double()
    whole = generator(z, y, x_l, Span.whole(2 * length))
    generator.__class__ = Halo
    streamed = torch.cat(list(generator.stream(z, y, iter(x_l.split(cut, dim=1)), 2 * length, window)), dim=1)
    torch.testing.assert_close(streamed, whole, atol=1e-9, rtol=1e-9)


@torch.no_grad()
@pytest.mark.parametrize("layer", ["separable", "convgru"])
def test_the_batchs_own_statistics_in_pieces(layer):
    """Where norms take the batch's statistics, a frame has the same in a piece as in the whole."""
    generator = upsampling(layer, 3, 2, 16, 0)
    z, y, x_l = torch.randn(3, 4).double(), torch.tensor([0, 2, 1]), torch.rand(3, 8, 3, 4, 4).double()
    with batch_statistics(generator):
        whole = generator(z, y, x_l, Span.whole(16))
        streamed = torch.cat(list(generator.stream(z, y, iter(x_l.split(1, dim=1)), 16, 2)), dim=1)
    torch.testing.assert_close(streamed, whole, atol=1e-9, rtol=1e-9)


@settings(deadline=None, max_examples=10)
@given(layers=st.lists(LAYER, min_size=1, max_size=2), frames=st.integers(1, 5), seed=st.integers(0, 2**31))
@torch.no_grad()
def test_all_stages_stream_together(layers, frames, seed):
    """Each stage's pieces are its whole video, in order."""
    torch.manual_seed(seed)
    cascade = make(*layers, frames=frames)
    noise, y = inputs(cascade)
    x_l = None
    for link, z, length in zip(cascade.links, noise, cascade.lengths(), strict=True):
        x_l = link.generator(z, y, x_l, Span.whole(length))
        pieces = [piece for name, piece in cascade.stream(noise, y) if name == link.name]
        torch.testing.assert_close(torch.cat(pieces, dim=1), x_l, atol=1e-6, rtol=1e-6)


@torch.no_grad()
def test_the_first_frames_come_before_the_last_are_made():
    """Of three stages, the last one's first frames are out when the base has made a window and the reach of them."""
    cascade = make("separable", "separable", frames=64)
    cascade = Cascade([Link(link.name, link.clip, link.generator, 4) for link in cascade.links])
    made = {link.name: 0 for link in cascade.links}
    noise, y = inputs(cascade)
    for name, piece in cascade.stream(noise, y):
        made[name] += piece.shape[1]
        if name == "up1":
            break
    assert made["base"] <= 8
    assert sum(piece.shape[1] for name, piece in cascade.stream(noise, y) if name == "up1") == 256


def test_lengths_of_all_stages():
    """Every stage is as long as the one after it needs it, for odd lengths too."""
    cascade = make("separable", "convgru", frames=3)
    assert cascade.lengths() == [3, 6, 12]
    assert cascade.lengths(1600) == [400, 800, 1600]
    assert cascade.lengths(9) == [3, 5, 9]


@torch.no_grad()
def test_the_buffers_do_not_grow(monkeypatch):
    """However long the video, no layer is ever given more than a window's frames and those beside it."""
    generator = upsampling("separable", 4, 2, 400, 0)
    seen = []
    original = SeparableConv3d.forward
    monkeypatch.setattr(SeparableConv3d, "forward", lambda self, x: (seen.append(x.shape[1]), original(self, x))[1])
    z, y, source = (
        torch.randn(1, 4).double(),
        torch.tensor([1]),
        (torch.rand(1, 3, 3, 4, 4).double() for _ in range(67)),
    )
    with batch_statistics(generator):
        assert sum(piece.shape[1] for piece in generator.stream(z, y, source, 400, 6)) == 400
    assert max(seen) <= 6 + 2


@given(sizes=st.lists(st.integers(0, 7), max_size=8), frames=st.integers(1, 6))
def test_pieces_of_one_size(sizes, frames):
    """The same frames in the same order, in pieces of as many as asked for: small ones are put together."""
    video = torch.arange(sum(sizes)).float()[None, :, None, None, None]
    found = [piece[0, :, 0, 0, 0] for piece in regrouped(torch.split(video, sizes, dim=1), frames)]
    assert [len(piece) for piece in found[:-1]] == [frames] * (len(found) - 1)
    assert [value for piece in found for value in piece.tolist()] == list(range(sum(sizes)))


@torch.no_grad()
def test_frames_that_come_one_by_one_cost_no_more():
    """As those of a decoder do: a temporal layer computes as many frames as when they come in windows."""
    generator = upsampling("separable", 2, 2, 24, 0)
    z, y, x_l = torch.randn(1, 4).double(), torch.tensor([0]), torch.rand(1, 12, 3, 4, 4).double()
    counts = []
    for size in (1, 3):
        computed = []
        handles = [
            layer.register_forward_pre_hook(lambda _, given, computed=computed: computed.append(given[0].shape[1]))
            for layer in generator.modules()
            if isinstance(layer, SeparableConv3d)
        ]
        assert sum(piece.shape[1] for piece in generator.stream(z, y, x_l.split(size, dim=1), 24, 6)) == 24
        counts.append(sum(computed))
        for handle in handles:
            handle.remove()
    assert counts[0] == counts[1]


def test_no_more_of_a_source_is_asked_for_than_is_needed():
    """A long film of which a few frames are wanted is not decoded to its end."""
    generator = upsampling("separable", 1, 2, 4, 0)
    asked = []

    def source():
        for number in range(50):
            asked.append(number)
            yield torch.zeros(1, 1, 3, 4, 4).double()

    with torch.no_grad():
        list(generator.stream(torch.randn(1, 4).double(), torch.tensor([0]), source(), 4, 2))
    assert len(asked) == 2
