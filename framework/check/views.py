"""The view of each stage, applied to videos: what it makes, and that a window of it is the view of the window."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from components.clip import Clip
from components.views import View
from framework.build import build_stage_view, stage_path
from framework.check.findings import Findings
from framework.graph import Stage
from registry import InputError


def check_applied(stage: Stage, findings: Findings) -> None:
    """The stage's view makes what it declares, and treats a window as it treats the whole clip."""
    where = f"{stage_path(stage)}.view"
    view = findings.attempt(where, partial(build_stage_view, stage))
    if view is None:
        return
    findings.attempt(where, partial(_as_declared, view, stage))
    if stage.training_clip != stage.clip and findings.sound(where):
        findings.attempt(where, partial(_window_by_window, view, stage))


def noise(clip: Clip) -> Tensor:
    """One video of noise, ``clip.shape(1)``, uniform in [-1, 1], the same every time."""
    return torch.rand(clip.shape(1), generator=torch.Generator().manual_seed(0)) * 2 - 1


def as_clip(video: object, like: Clip) -> str:
    """What ``video`` is, in the words of clips where it is one; its stride is taken to be that of ``like``."""
    if not isinstance(video, Tensor) or video.dim() != 5:
        return as_tensor(video)
    _, frames, channels, height, width = video.shape
    return str(Clip(frames, height, width, channels, like.stride))


def as_tensor(value: object) -> str:
    """What ``value`` is, for an error."""
    return f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"


def _as_declared(view: View, stage: Stage) -> None:
    declared = view.clip(stage.training_clip)
    made = view(torch.zeros(stage.training_clip.shape(1), device="meta"))
    if not isinstance(made, Tensor) or tuple(made.shape) != declared.shape(1):
        raise InputError.of("", f"makes {as_clip(made, declared)} of the stage's window", f"{declared}, as it declares")


def _window_by_window(view: View, stage: Stage) -> None:
    """Section 3.2 trains on windows of the clip and of its view alike: the first, a middle and the last here."""
    window, frames = stage.training_clip.frames, stage.clip.frames
    video = noise(stage.clip)
    whole = view(video)
    for start in sorted({0, (frames - window) // 2 // view.time * view.time, frames - window}):
        part = view(video[:, start : start + window])
        wanted = whole[:, start // view.time : (start + window) // view.time]
        if part.shape != wanted.shape or not torch.allclose(part, wanted, atol=1e-5):
            what = "makes other frames of a window than of the whole clip, so its stage cannot train on windows"
            raise InputError.of("", what, "a view that looks at no frame beyond the window, or no window")
