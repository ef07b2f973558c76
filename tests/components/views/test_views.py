"""Each view against an independent formula, and the promises that all views make."""

from __future__ import annotations

from collections.abc import Callable

import kornia
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from components.clip import Clip, Span
from components.views import AntialiasedView, AreaView, Compose, NearestView, View, WindowView
from registry import VIEWS, InputError, use


def random_video(shape: tuple[int, ...], seed: int = 0) -> torch.Tensor:
    """Values spread over all of [-1, 1]."""
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


SINGLE_VIEWS = [
    NearestView(time=2, space=2),
    NearestView(space=4),
    AreaView(time=2, space=2),
    AreaView(time=3),
    AntialiasedView(time=2, space=2),
    AntialiasedView(time=3, space=2, interpolation="bicubic"),
]


@st.composite
def views(draw: st.DrawFn, frames: int, size: int, depth: int = 2) -> tuple[View, int, int]:
    """A view that can be applied to ``frames`` frames of ``size`` pixels, and what it makes of both."""
    kind = draw(st.sampled_from(["nearest", "area", "antialiased", "window", "compose"][: 5 if depth else 4]))
    if kind == "compose":
        parts = []
        for _ in range(draw(st.integers(1, 3))):
            part, frames, size = draw(views(frames, size, depth - 1))
            parts.append(part)
        return Compose(views=tuple(parts)), frames, size
    if kind == "window":
        start = draw(st.integers(0, frames - 1))
        kept = draw(st.integers(1, frames - start))
        return WindowView(frames=kept, start=start), kept, size
    time = draw(st.sampled_from([factor for factor in (1, 2, 3) if frames % factor == 0]))
    space = draw(st.sampled_from([factor for factor in (1, 2, 3) if size % factor == 0]))
    if kind == "antialiased":
        view: View = AntialiasedView(
            time=time, space=space, interpolation=draw(st.sampled_from(["bilinear", "bicubic"]))
        )
    else:
        view = {"nearest": NearestView, "area": AreaView}[kind](time=time, space=space)
    return view, frames // time, size // space


@st.composite
def views_with_clips(draw: st.DrawFn) -> tuple[View, Clip, int, int]:
    """A view, a clip it can be applied to, and the frames and pixels that it keeps."""
    frames, size = draw(st.sampled_from([1, 2, 6, 12])), draw(st.sampled_from([2, 6, 12]))
    view, kept_frames, kept_size = draw(views(frames, size))
    return view, Clip(frames, size, size, channels=draw(st.integers(1, 3))), kept_frames, kept_size


@settings(max_examples=80, deadline=None)
@given(views_with_clips(), st.data())
def test_part_of_a_view_equals_the_view_of_a_part(case: tuple[View, Clip, int, int], data: st.DataObject) -> None:
    """`forward_span` of the frames `input_span` gives the very frames that the whole view has there."""
    view, clip, frames, _ = case
    start = data.draw(st.integers(0, frames - 1))
    span = Span(start, data.draw(st.integers(start + 1, frames)), frames)
    video = random_video(clip.shape(2))
    part = view.input_span(span, clip.frames)
    assert part.total == clip.frames
    torch.testing.assert_close(
        view.forward_span(video[:, part.start : part.stop], span), view(video)[:, span.start : span.stop]
    )


@settings(max_examples=40, deadline=None)
@given(views_with_clips())
def test_clip_arithmetic_agrees_with_the_tensor(case: tuple[View, Clip, int, int]) -> None:
    """The declared clip has the shape of the view's tensor, also on the meta device, and values stay in [-1, 1]."""
    view, clip, frames, size = case
    expected = (2, frames, clip.channels, size, size)
    assert view.clip(clip).shape(2) == expected
    small = view(random_video(clip.shape(2)))
    assert small.shape == expected
    assert small.abs().max() <= 1 + 1e-6
    assert view(torch.empty(clip.shape(2), device="meta")).shape == expected


@pytest.mark.parametrize(("time", "space"), [(1, 1), (2, 2), (1, 4), (3, 1)])
def test_nearest_view_is_nearest_interpolation(time: int, space: int) -> None:
    """The strided slice equals torch's nearest-neighbour interpolation in 3-D, and Kornia's in space."""
    video = random_video((2, 6, 3, 8, 12))
    small = NearestView(time=time, space=space)(video)
    volume = F.interpolate(video.transpose(1, 2), size=(6 // time, 8 // space, 12 // space), mode="nearest").transpose(
        1, 2
    )
    assert torch.equal(small, volume)
    frames = kornia.geometry.transform.resize(video[:, ::time], (8 // space, 12 // space), interpolation="nearest")
    assert torch.equal(small, frames)


def test_nearest_view_of_numbered_pixels() -> None:
    """Frame t * time, pixel (i * space, j * space) is kept: read off a video that numbers its pixels."""
    t, i, j = np.meshgrid(np.arange(4), np.arange(4), np.arange(6), indexing="ij")
    video = torch.tensor(t * 100 + i * 10 + j)[None, :, None]
    assert NearestView(time=2, space=2)(video)[0, :, 0].tolist() == [
        [[0, 2, 4], [20, 22, 24]],
        [[200, 202, 204], [220, 222, 224]],
    ]


def test_area_view_is_the_block_mean() -> None:
    """Against numpy's mean over blocks."""
    video = random_video((2, 4, 3, 6, 6)).double()
    blocks = video.numpy().reshape(2, 2, 2, 3, 3, 2, 3, 2)
    np.testing.assert_allclose(AreaView(time=2, space=2)(video).numpy(), blocks.mean(axis=(2, 5, 7)))


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_antialiased_view_loses_no_pixel(interpolation: str) -> None:
    """A bright column weighs about the same wherever it stands; sampled without the blur it comes and goes."""

    def weights(small: Callable[[torch.Tensor], torch.Tensor]) -> list[float]:
        columns = torch.eye(32)[12:16, None, None, None, :].expand(4, 1, 1, 32, 32)
        return small(columns).flatten(1).sum(1).tolist()

    blurred = weights(AntialiasedView(space=4, interpolation=interpolation))
    sampled = weights(lambda video: kornia.geometry.transform.resize(video, (8, 8), interpolation))
    assert min(blurred) > max(blurred) / 1.5
    assert min(sampled) < max(sampled) / 10


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_antialiased_view_keeps_flat_frames(interpolation: str) -> None:
    """A constant frame stays the constant: the filter has gain one."""
    video = torch.full((1, 2, 3, 12, 12), 0.7)
    small = AntialiasedView(time=2, space=3, interpolation=interpolation)(video)
    torch.testing.assert_close(small, torch.full((1, 1, 3, 4, 4), 0.7))


def test_bicubic_overshoot_is_clipped() -> None:
    """A hard edge overshoots in Kornia's bicubic resize; the view's result stays in [-1, 1]."""
    frame = torch.ones(1, 1, 1, 8, 8)
    frame[..., :4] = -1
    raw = kornia.geometry.transform.resize(frame[0], (4, 4), interpolation="bicubic", antialias=True)
    small = AntialiasedView(space=2, interpolation="bicubic")(frame)
    assert raw.abs().max() > 1
    assert small.abs().max() <= 1
    torch.testing.assert_close(small[0], raw.clamp(-1, 1))


def test_window_view_keeps_its_frames() -> None:
    """Frames start to start + frames, and nothing else of the clip changes."""
    video = random_video((2, 7, 3, 4, 4))
    assert torch.equal(WindowView(frames=3, start=2)(video), video[:, 2:5])
    assert WindowView(frames=3, start=2).clip(Clip(7, 4, 4, stride=4)) == Clip(3, 4, 4, stride=4)


def test_compose_applies_the_first_view_first() -> None:
    """A window then a stride is not a stride then a window."""
    video = torch.arange(8.0)[None, :, None, None, None]
    window, stride = WindowView(frames=4, start=1), NearestView(time=2)
    assert Compose(views=(window, stride))(video).flatten().tolist() == [1, 3]
    assert WindowView(frames=3, start=1)(stride(video)).flatten().tolist() == [2, 4, 6]
    assert Compose(views=(stride, WindowView(frames=3, start=1)))(video).flatten().tolist() == [2, 4, 6]


def test_compose_multiplies_time_and_stride() -> None:
    """Two strides of 2 and 3 are one of 6: in `time`, in the clip's stride, in the frames asked for."""
    view = Compose(views=(NearestView(time=2), NearestView(time=3, space=2)))
    assert view.time == 6
    assert view.clip(Clip(12, 8, 8, stride=2)) == Clip(2, 4, 4, stride=12)
    assert view.input_span(Span(1, 2, 2), 12) == Span(6, 12, 12)


def test_compose_is_built_from_a_spec() -> None:
    """Nested components in a spec become the composed views."""
    spec = use("Compose", views=[use("NearestView", time=2), use("WindowView", frames=2)])
    view = VIEWS.build(spec)
    assert [type(part) for part in view.views] == [NearestView, WindowView]
    assert view.views[0].time == 2


@pytest.mark.parametrize(
    ("view", "option"),
    [
        (NearestView(time=4), "time"),
        (AreaView(space=4), "space"),
        (AntialiasedView(space=3), "space"),
        (WindowView(frames=4, start=3), "frames"),
        (Compose(views=(NearestView(time=2), NearestView(time=2))), "views[1].time"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(view: View, option: str) -> None:
    """A factor that does not divide, or a window past the end, names its option; the tensor is refused alike."""
    clip = Clip(frames=6, height=8, width=6)
    with pytest.raises(InputError) as error:
        view.clip(clip)
    assert [problem.where for problem in error.value.problems] == [option]
    with pytest.raises(InputError):
        view(random_video(clip.shape(1)))


def test_an_empty_composition_is_refused() -> None:
    """Nothing to compose is an error on the option."""
    with pytest.raises(InputError, match=r"^views: "):
        Compose(views=())


@pytest.mark.parametrize("view", SINGLE_VIEWS, ids=repr)
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_type_is_kept_and_gradient_flows(view: View, dtype: torch.dtype) -> None:
    """The view has the video's type, and every video that it reads gets a gradient."""
    video = random_video((2, 6, 3, 8, 8)).to(dtype).requires_grad_()
    small = view(video)
    assert small.dtype == dtype
    small.sum().backward()
    assert video.grad is not None
    assert (video.grad.flatten(1).abs().sum(1) > 0).all()


def test_area_gradient_is_spread_over_the_block() -> None:
    """Each of the 8 values in a block gets an eighth of the gradient."""
    video = random_video((1, 2, 1, 4, 4)).requires_grad_()
    AreaView(time=2, space=2)(video).sum().backward()
    torch.testing.assert_close(video.grad, torch.full_like(video, 1 / 8))
