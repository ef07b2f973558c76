"""The levels that ``tools/ingest.py --levels SPEC`` adds to a store."""

from __future__ import annotations

from components.views import flatten, pick
from framework.build import build_data_route
from framework.graph import Stage, StageGraph
from framework.spec_file import load_spec
from framework.stored_views import StoredView, stored_views
from registry import InputError, Problem


def level_views(spec: str, size: int, stride: int) -> tuple[StoredView, ...]:
    """What the stages of the experiment ``spec`` are made of other than the whole frames, from large to small.

    A level has every frame of the store and the spatial part of the stages' views; which frames a stage is
    given is decided at reading, so that a clip may start anywhere.

    Args:
        spec: path of the spec.
        size: height and width of the store's frames.
        stride: of the store.

    Raises:
        InputError: the spec is wrong or is for other frames, no stage is smaller than the frames, or a stage's
            view mixes pixels, so that eight bits do not hold its values.
    """
    graph = load_spec(spec)[0].graph
    clip = graph.clip
    if (clip.height, clip.width, clip.stride) != (size, size, stride):
        what = f"{spec} is for {clip}, but the store is to hold {size}x{size} @{stride}"
        allowed = f"--size {clip.height} --stride {clip.stride}" if clip.height == clip.width else None
        raise InputError.of("--levels", what, allowed)
    if problems := [problem for stage in graph.stages if (problem := _mixes(graph, stage))]:
        raise InputError(problems)
    views = tuple(stored_views(graph))
    if not views:
        raise InputError.of("--levels", f"every stage of {spec} is made of the whole frames, which level 0 holds")
    return views


def _mixes(graph: StageGraph, stage: Stage) -> Problem | None:
    """Why no level can hold the frames of ``stage``."""
    picked = pick(flatten(build_data_route(graph, stage)))
    if stage.clip.height * picked.space == graph.clip.height and stage.clip.width * picked.space == graph.clip.width:
        return None
    left = ", ".join(repr(view) for view in picked.rest if getattr(view, "space", 1) > 1) or "a view of its own"
    what = f"the frames of stage {stage.name!r} are mixed of several pixels ({left}), and eight bits do not hold them"
    return Problem("--levels", what, allowed="views that pick pixels, such as NearestView")
