"""What a stage's loader gives: windows whose views are the windows of the views, at any position, from any start."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from stage_makers import RandomClips
from torch.utils.data import default_collate

from components.clip import Clip
from datasets import ClipSampler
from framework import Stage, StageGraph, use
from framework.build import build_data_route, build_stage_view, build_view
from framework.stage_data import PositionBatches, StageClips, StageData
from framework.stage_loader import StageLoader
from registry import InputError


def apply(view, video: np.ndarray) -> np.ndarray:
    """The view ``view`` of ``video`` (T, C, H, W), by numpy alone."""
    options = view.options
    time, space = options.get("time", 1), options.get("space", 1)
    if view.type == "Compose":
        for part in options["views"]:
            video = apply(part, video)
        return video
    if view.type == "WindowView":
        return video[options.get("start", 0) :][: options["frames"]]
    if view.type == "NearestView":
        return video[::time, :, ::space, ::space]
    assert view.type == "AreaView"
    frames, channels, height, width = video.shape
    return video.reshape(frames // time, time, channels, height // space, space, width // space, space).mean((1, 4, 6))


scalings = st.builds(
    lambda kind, time, space: use(kind, time=time, space=space),
    st.sampled_from(["NearestView", "AreaView"]),
    st.integers(1, 3),
    st.integers(1, 2),
)
edges = scalings | st.lists(scalings, min_size=1, max_size=2).map(lambda views: use("Compose", views=views))


@st.composite
def graphs(draw) -> StageGraph:
    """Chains of one to three stages, windows of any whole number of source frames, perhaps a view of the data."""
    views = draw(st.lists(edges, min_size=0, max_size=2))
    scale = [_scale(view) for view in views]
    frames, side = draw(st.integers(1, 3)), draw(st.integers(1, 2))
    clips = [Clip(frames, side, side + 1)]
    for time, space in scale:
        low = clips[-1]
        clips.append(Clip(low.frames * time, low.height * space, low.width * space))
    data, data_view = _data(draw, clips[-1])
    stages = []
    for number, clip in enumerate(clips):
        step = scale[number - 1][0] if number else 1
        stages.append(
            Stage(
                f"stage{number}",
                clip=clip,
                generator=use("none"),
                source=f"stage{number - 1}" if number else None,
                view=views[number - 1] if number else None,
                window=draw(st.none() | st.integers(1, clip.frames // step).map(lambda k, step=step: k * step)),
                data_view=data_view if number == len(clips) - 1 else None,
            )
        )
    return StageGraph(clip=data, stages=stages)


def _scale(view) -> tuple[int, int]:
    parts = view.options["views"] if view.type == "Compose" else (view,)
    return int(np.prod([p.options["time"] for p in parts])), int(np.prod([p.options["space"] for p in parts]))


def _data(draw, clip: Clip):
    """A clip that leads to ``clip``, and the view by which it does."""
    kind = draw(st.sampled_from(["none", "window", "area of a window", "window of nearest"]))
    if kind == "none":
        return clip, None
    start, beyond = draw(st.integers(0, 3)), draw(st.integers(0, 3))
    window = use("WindowView", frames=clip.frames, start=start)
    if kind == "window":
        return Clip(clip.frames + start + beyond, clip.height, clip.width), window
    time = draw(st.integers(1, 2))
    height, width = 2 * clip.height, 2 * clip.width
    if kind == "area of a window":
        window = use("WindowView", frames=clip.frames * time, start=start)
        view = use("Compose", views=[window, use("AreaView", time=time, space=2)])
        return Clip(clip.frames * time + start + beyond, height, width), view
    view = use("Compose", views=[use("NearestView", time=time, space=2), window])
    return Clip((clip.frames + start + beyond) * time, height, width), view


def make(graph: StageGraph, stage: Stage, dataset: RandomClips, seed: int = 0) -> tuple[StageData, StageClips]:
    data = StageData(graph, stage, build_data_route(graph, stage), build_stage_view(stage))
    return data, StageClips(dataset, graph, data, seed)


def window_numbers(video, graph, stage, dataset, place) -> list[int]:
    """Which windows of the sample's clip, its views taken of the whole of it by numpy, equal ``video``."""
    clip, start = place
    whole = dataset.videos[clip][start : start + graph.clip.frames].transpose(0, 3, 1, 2) / 127.5 - 1
    for component in graph.data_route(stage.name):
        whole = apply(component, whole)
    assert whole.shape == stage.clip.shape(1)[1:]
    step = build_view(stage.view).time if stage.view else 1
    frames = stage.training_clip.frames
    starts = range(0, stage.clip.frames - frames + 1, step)
    return [n for n, s in enumerate(starts) if np.allclose(whole[s : s + frames], video, atol=1e-5)]


@settings(max_examples=100, deadline=None)
@given(graph=graphs(), seed=st.integers(0, 2**63 - 1), position=st.integers(0, 1000))
def test_views_of_windows_are_windows_of_views(graph, seed, position):
    """At any position of any graph the window is one of the whole clip's view, of the clip that the sampler named."""
    dataset = RandomClips([graph.clip.frames, graph.clip.frames + 3], graph.clip)
    sampler = ClipSampler(dataset.lengths(), graph.clip.frames, seed)
    for stage in graph.stages:
        data, clips = make(graph, stage, dataset, seed)
        positions = range(position, position + 3)
        batch = default_collate([clips[p] for p in positions])
        videos = data.videos(batch, torch.device("cpu"))
        assert videos.shape == stage.training_clip.shape(3)
        assert data.labels(batch, torch.device("cpu")) is None
        for p, video in zip(positions, videos.numpy(), strict=True):
            assert window_numbers(video, graph, stage, dataset, sampler(p))


def three_stages(classes: int | None = 3, **full) -> StageGraph:
    view = use("NearestView", time=2, space=2)
    stages = [
        Stage("base", clip=Clip(4, 2, 2, stride=4), generator=use("none"), window=3),
        Stage("mid", clip=Clip(8, 4, 4, stride=2), source="base", view=view, window=4, generator=use("none")),
        Stage("full", clip=Clip(16, 8, 8), source="mid", view=view, window=4, generator=use("none"), **full),
    ]
    return StageGraph(clip=Clip(16, 8, 8), classes=classes, stages=stages)


@pytest.mark.parametrize(("name", "starts"), [("base", [0, 1]), ("mid", [0, 2, 4]), ("full", [0, 2, 4, 6, 8, 10, 12])])
def test_windows_start_at_every_whole_source_frame(name, starts):
    """Windows lie on frames of the source, from the first to the last, and all of them are drawn, on both sides."""
    graph = three_stages()
    dataset = RandomClips([16, 19], graph.clip)
    data, clips = make(graph, graph[name], dataset)
    assert [data.window(number).start for number in range(data.starts)] == starts
    assert {data.draw_window().start for _ in range(200)} == set(starts)
    sampler = ClipSampler(dataset.lengths(), 16, 0)
    seen, offsets = set(), set()
    for position in range(120):
        video = data.videos(default_collate([clips[position]]), torch.device("cpu"))
        [number] = window_numbers(video[0].numpy(), graph, graph[name], dataset, sampler(position))
        seen.add(starts[number])
        offsets.add(sampler(position))
    assert seen == set(starts)
    assert offsets == {(0, 0), (1, 0), (1, 1), (1, 2), (1, 3)}


def test_only_the_needed_frames_are_read():
    """A stage reads the frames of the data that its window keeps, and no others, from the smallest level."""
    graph = three_stages()
    for name, frames, step, level in (("base", 3, 4, 2), ("mid", 4, 2, 1), ("full", 4, 1, 0)):
        dataset = RandomClips([16], graph.clip, spaces=(2, 4))
        _, clips = make(graph, graph[name], dataset)
        for position in range(5):
            assert clips[position]["frames"].shape[0] == frames
        assert {(len(read[1]), read[1].step, read[2]) for read in dataset.reads} == {(frames, step, level)}


@settings(max_examples=60, deadline=None)
@given(graph=graphs(), seed=st.integers(0, 2**63 - 1), position=st.integers(0, 1000), held=st.sets(st.integers(2, 8)))
def test_levels_change_no_pixel(graph, seed, position, held):
    """Whatever smaller frames a dataset holds, a stage trains on the pixels that it would be given without."""
    for stage in graph.stages:
        videos = []
        for spaces in ((), sorted(held)):
            dataset = RandomClips([graph.clip.frames + 3] * 2, graph.clip, spaces=spaces)
            data, clips = make(graph, stage, dataset, seed)
            videos.append(data.videos(default_collate([clips[position]]), torch.device("cpu")))
        assert torch.equal(*videos)


def test_labels_go_with_their_clips():
    """The label of a sample is that of the clip that its frames are of."""
    graph = three_stages()
    dataset = RandomClips([16] * 7, graph.clip)
    data, clips = make(graph, graph["mid"], dataset)
    sampler = ClipSampler(dataset.lengths(), 16, 0)
    batch = default_collate([clips[p] for p in range(14)])
    y = data.labels(batch, torch.device("cpu"))
    assert y.tolist() == [sampler(p)[0] % 3 for p in range(14)]


def test_drawn_labels_are_those_of_clips_that_train():
    """Labels for the statistics come in the mix of the usable clips; those of clips left out do not come."""
    graph = three_stages()
    dataset = RandomClips([16, 3, 16, 16, 5, 16, 16], graph.clip)  # the short ones are all of class 1
    dataset.short = "skip"
    _, clips = make(graph, graph["mid"], dataset)
    labels = clips.labels(500, torch.Generator().manual_seed(0))
    counts = torch.bincount(labels, minlength=3)
    assert counts[1] == 0
    assert counts[0] / 500 == pytest.approx(3 / 5, abs=0.1)


@settings(max_examples=30, deadline=None)
@given(
    stop=st.integers(1, 6),
    data=st.data(),
    per_iteration=st.integers(1, 3),
    each=st.integers(1, 3),
    world=st.integers(1, 3),
)
def test_starting_late_gives_the_tail(stop, data, per_iteration, each, world):
    """From any iteration on, the batches are those that never stopping would have brought there."""
    start = data.draw(st.integers(0, stop))
    rank = data.draw(st.integers(0, world - 1))
    share = (each * world, rank, world)
    whole = list(PositionBatches(0, stop, per_iteration, *share))
    late = PositionBatches(start, stop, per_iteration, *share)
    assert list(late) == whole[start * per_iteration :]
    assert len(late) == len(list(late))
    assert {len(batch) for batch in whole} == {each}
    ranks = [PositionBatches(0, stop, per_iteration, each * world, r, world) for r in range(world)]
    everything = sorted(position for batches in ranks for batch in batches for position in batch)
    assert everything == list(range(stop * per_iteration * each * world))


def test_unequal_shares_are_refused():
    """A batch that the processes cannot share evenly is an error before anything is read."""
    with pytest.raises(InputError, match=r"batch_size: 4 samples cannot be shared evenly by 3 processes"):
        list(PositionBatches(0, 1, 1, 4, 0, 3))


@pytest.mark.parametrize("workers", [0, 2])
def test_loaders_do_not_depend_on_where_they_began(workers):
    """The tensors of a loader that starts late, with or without workers, are the tail of one that did not."""
    graph = three_stages()
    dataset = RandomClips([16, 17, 20, 16, 18], graph.clip)
    _, clips = make(graph, graph["mid"], dataset, seed=3)
    whole = list(StageLoader(clips, PositionBatches(0, 4, 2, 3), 0))
    late = list(StageLoader(clips, PositionBatches(2, 4, 2, 3), workers))
    assert len(late) == 4
    for one, other in zip(whole[4:], late, strict=True):
        assert torch.equal(one["frames"], other["frames"])
        assert torch.equal(one["label"], other["label"])


def test_seeds_make_other_sequences():
    """Two stages of a run, which have two seeds, do not see the same clips at the same windows."""
    graph = three_stages()
    dataset = RandomClips([16] * 6, graph.clip)
    sequences = []
    for seed in (1, 2):
        _, clips = make(graph, graph["mid"], dataset, seed)
        dataset.reads.clear()
        for position in range(12):
            clips[position]
        sequences.append(list(dataset.reads))
    assert sequences[0] != sequences[1]
