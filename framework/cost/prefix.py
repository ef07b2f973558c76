"""What the frozen sources before a stage cost, as a mean over the windows that it trains on."""

from __future__ import annotations

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from framework.batch import least_parts
from framework.cost.cards import Card
from framework.cost.fake import fake_stage
from framework.cost.meter import Meter
from framework.cost.step import step_of
from framework.cost.totals import Totals, totals
from framework.cost.updates import windows_of
from framework.experiment import Experiment, Training

MOST_WINDOWS = 6
"""Windows that are looked at, of all that a stage trains on."""


def prefix_of_iteration(
    experiment: Experiment, name: str, training: Training, clips: int, card: Card, windows: int = MOST_WINDOWS
) -> Totals:
    """All passes through the sources of the stage ``name`` in one iteration; none where there is a bank, or no source.

    Arguments are those of :func:`prefix_totals`.
    """
    if experiment.graph[name].source is None or training.prefix_bank is not None:
        return Totals()
    draws = 1 if training.prefix == "iteration" else training.discriminator_steps + 1
    passes = draws * least_parts(clips, training.clips_per_gpu)
    return prefix_totals(experiment, name, training, clips, card, windows) * passes


def prefix_totals(
    experiment: Experiment, name: str, training: Training, clips: int, card: Card, windows: int = MOST_WINDOWS
) -> Totals:
    """One part's pass through the sources of the stage ``name``, mean over its windows.

    A ConvGRU has to begin at the first frame, so that late windows cost more; the other layers of the sources cost
    less where a window lies at an end. In between it is linear in the window's place, so a few windows tell the mean.

    Args:
        experiment: checked.
        name: of a stage with a source.
        training: of the stage.
        clips: in an update, of one GPU.
        card: that it is computed on.
        windows: that are looked at, an even number.
    """
    stage = experiment.graph[name]
    at_once = clips // least_parts(clips, training.clips_per_gpu)
    with FakeTensorMode():
        step = step_of(fake_stage(experiment, stage, training), experiment, training, at_once)
        model, optimizer = step.model, step.optimizers["discriminator"]
        labels = model.data.labels(step.batches[0], model.device)

        def at(window: int) -> Totals:
            with Meter(window) as meter, torch.no_grad(), optimizer.autocast():
                latents = model.draw(at_once)
                meter.phase = "prefix"
                assert model.sources is not None  # noqa: S101 - for the type checker: the stage has a source
                assert latents.window is not None  # noqa: S101 - and so a window of its videos
                model.sources.frames(latents.of_sources, labels, latents.window)
            return totals(((each, 1) for each in meter.operations if each.phase == "prefix"), card)

        places = spread(windows_of(experiment, stage), windows)
        return sum(map(at, places), Totals()) * (1 / len(places))


def spread(count: int, most: int = MOST_WINDOWS) -> list[int]:
    """At most ``most`` (even) of the places ``0 <= i < count``, evenly apart and mirrored about the middle.

    The mean of what is linear in the place is that over all places, exactly.
    """
    if count <= most:
        return list(range(count))
    half = most // 2
    first = [int((i + 0.5) * count / most) for i in range(half)]
    return [*first, *(count - 1 - place for place in reversed(first))]
