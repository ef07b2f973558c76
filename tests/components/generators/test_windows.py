"""Generation in windows equals generation whole, from exactly the frames that matter."""

import pytest
import torch
from generator_makers import make_dvd, make_inputs, make_upsampling, ready
from hypothesis import given, settings
from hypothesis import strategies as st

from components.clip import Span
from components.generators import Generator
from components.layers import GeneratorBlock2d

TEMPORAL_LAYERS = st.sampled_from(["separable", "convgru", "resnet3d"])
SEEDS = st.integers(0, 2**32 - 1)
AXES = st.none() | st.lists(st.sampled_from(["height", "width", "time"]), min_size=1, unique=True).map(tuple)
"""Of the attention, if any."""
MULTIPLIERS = st.lists(st.integers(1, 2), min_size=1, max_size=3).map(tuple)


@st.composite
def windows(draw, frames: int) -> Span:
    start = draw(st.integers(0, frames - 1))
    return Span(start, draw(st.integers(start + 1, frames)), frames)


def attention(axes: tuple[str, ...] | None) -> dict:
    """Options for attention after every unit, since all but the first give 8x8."""
    return {} if axes is None else {"attention": (8,), "attention_axes": axes}


def in_window(generator: Generator, inputs: dict, span: Span) -> torch.Tensor:
    source = generator.source_span(span)
    held = inputs if source is None else {**inputs, "x_l": inputs["x_l"][:, source.start : source.stop]}
    return generator(**held, span=span)


@settings(max_examples=20, deadline=None)
@given(
    seed=SEEDS,
    data=st.data(),
    frames=st.integers(1, 8),
    time=st.integers(1, 3),
    space=st.sampled_from([1, 2]),  # x_l comes in at every unit, or at the first one alone
    multipliers=MULTIPLIERS,
    temporal_layer=TEMPORAL_LAYERS,
    axes=AXES,
)
@torch.no_grad()
def test_a_window_of_an_upsampled_video(seed, data, frames, time, space, multipliers, temporal_layer, axes):
    """Any window, from the frames of x_l that ``source_span`` names, is cut out of the whole video."""
    torch.manual_seed(seed)
    frames, options = frames * time, {"time": time, "space": space, **attention(axes)}
    span = data.draw(windows(frames))
    generator = make_upsampling(frames, multipliers=multipliers, temporal_layer=temporal_layer, **options)
    inputs = make_inputs(ready(generator, frames), frames)
    whole = generator(**inputs)
    torch.testing.assert_close(in_window(generator, inputs, span), whole[:, span.start : span.stop])


@settings(max_examples=10, deadline=None)
@given(seed=SEEDS, data=st.data(), frames=st.integers(1, 7), multipliers=MULTIPLIERS, axes=AXES)
@torch.no_grad()
def test_a_window_of_a_base_video(seed, data, frames, multipliers, axes):
    """Any window of a video of any length is cut out of that video, whatever the training clip's length."""
    torch.manual_seed(seed)
    span = data.draw(windows(frames))
    generator = ready(make_dvd(frames=3, multipliers=multipliers, **attention(axes)), frames)
    inputs = make_inputs(generator, frames)
    whole = generator(**inputs, span=Span.whole(frames))
    torch.testing.assert_close(in_window(generator, inputs, span), whole[:, span.start : span.stop])


@pytest.mark.parametrize(
    ("temporal_layer", "multipliers", "reach"),
    [("separable", (1, 1), 1), ("separable", (1, 1, 1), 2), ("resnet3d", (1, 1), 2), ("convgru", (1, 1), None)],
)
@torch.no_grad()
def test_field_of_view_is_exact(temporal_layer, multipliers, reach):
    """Another frame of x_l changes the output frames whose field of view it lies in, no more and no fewer."""
    frames, changed_frame = 24, 6
    generator = ready(
        make_upsampling(frames, channels=6, multipliers=multipliers, temporal_layer=temporal_layer), frames
    )
    assert (generator.field_of_view.past, generator.field_of_view.future) == (reach, 0 if reach is None else reach)
    inputs = make_inputs(generator, frames)
    other = inputs["x_l"].clone()
    other[:, changed_frame] *= -1
    difference = generator(**{**inputs, "x_l": other}) - generator(**inputs)
    differs = (difference.abs().amax(dim=(0, 2, 3, 4)) > 0).nonzero().flatten().tolist()
    first, last = 2 * changed_frame, 2 * changed_frame + 1  # the output frames that repeat it
    assert differs == (list(range(first, frames)) if reach is None else list(range(first - reach, last + reach + 1)))


@pytest.mark.parametrize("units", [(1,), (1, 1), (1, 1, 1)])
@torch.no_grad()
def test_with_attention_over_time_every_frame_depends_on_every_other(units):
    """On each frame of x_l, whichever unit it follows; the first unit's comes after x_l too. So says the field."""
    options = {"channels": 6, "multipliers": units, "attention": (8,), "attention_axes": ("time",)}
    generator = ready(make_upsampling(6, **options), 6)
    assert (generator.field_of_view.past, generator.field_of_view.future) == (None, None)
    assert generator.source_span(Span(2, 3, 6)) == Span.whole(3)
    inputs = make_inputs(generator, 6)
    whole = generator(**inputs)
    for frame in range(3):
        x_l = inputs["x_l"].clone()
        x_l[:, frame] *= -1
        assert ((generator(**{**inputs, "x_l": x_l}) - whole).abs().amax(dim=(0, 2, 3, 4)) > 0).all()
    assert make_dvd(4, attention=(8,), attention_axes=("time",)).field_of_view.future is None
    assert make_dvd(4, attention=(8,)).field_of_view.future == 0


@torch.no_grad()
def test_every_named_source_frame_matters():
    """``source_span`` asks for no frame of x_l on which the window does not depend."""
    frames, span = 24, Span(11, 14, 24)
    generator = ready(make_upsampling(frames, channels=6), frames)
    inputs, source = make_inputs(generator, frames), generator.source_span(span)
    assert (source.start, source.stop, source.total) == (5, 8, 12)  # output frames 10..14, one to each side
    before = in_window(generator, inputs, span)
    for frame in range(12):
        x_l = inputs["x_l"].clone()
        x_l[:, frame] *= -1
        assert torch.equal(in_window(generator, {**inputs, "x_l": x_l}, span), before) == (frame not in range(5, 8))


@pytest.mark.parametrize(
    ("temporal_layer", "expected"), [("separable", [4, 2]), ("resnet3d", [6, 2]), ("convgru", [13, 2])]
)
@torch.no_grad()
def test_no_frame_is_computed_beyond_need(temporal_layer, expected, monkeypatch):
    """Each unit's blocks see the window and what the temporal layers still to come look at."""
    frames, span = 24, Span(11, 13, 24)
    generator = ready(make_upsampling(frames, temporal_layer=temporal_layer), frames)
    seen, forward = [], GeneratorBlock2d.forward
    monkeypatch.setattr(
        GeneratorBlock2d,
        "forward",
        lambda block, x, *rest: (seen.append(x.shape[1]), forward(block, x, *rest))[1],
    )
    in_window(generator, make_inputs(generator, frames), span)
    assert seen[::2] == expected


def test_a_longer_video_is_generated_from_a_longer_source():
    """Without a span an upsampled video is as long as x_l leads to, beyond the training window too."""
    generator = ready(make_upsampling(4), 10)
    assert generator(**make_inputs(generator, 10)).shape == (2, 10, 3, 8, 8)
