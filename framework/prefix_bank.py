"""A bank of whole source videos in a clip store, whose windows a stage trains on instead of new ones each update.

Making x̂_l costs a run of the frozen stages at every update; reading it costs next to nothing. In return the stage
meets the same source videos again, in other windows, and x̂_l as it is stored: rounded to 256 values, as the real
x_l are. The bank follows from the run's seed, the stage, the source's artifact and the data, so that it need not be
kept: whatever stands in its place that is not whole, or another's, is made anew.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import attrs
import numpy as np
import torch
from torch import Tensor

from components import ranks
from components.clip import Clip, Span
from datasets import ClipStore
from datasets.place import differences
from datasets.store import Settings
from datasets.verify import verify
from datasets.writer import StoreWriter
from framework.adversarial_stage import AdversarialStage
from framework.artifact import manifest_digest
from framework.batch import Latents
from framework.build import stage_path
from framework.cascade import Cascade
from framework.experiment import Experiment
from framework.graph import Stage
from framework.pixel_values import frames_of, videos_of
from framework.randomness import generator_at
from framework.run_folder import RunFolder
from framework.stage_data import StageClips
from framework.stopping import StopSignals
from framework.together import on_first, together
from registry import InputError
from registry.cli import note, say
from registry.errors import join
from registry.progress import Progress


@attrs.frozen(kw_only=True)
class About:
    """What a bank is made of: a store that says anything else is another bank."""

    videos: int
    """How many. Video k follows from seed, stage and k, so that a larger bank begins like a smaller one."""
    seed: int
    """Of the run."""
    stage: str
    """The one that trains on it."""
    artifact: str
    """Digest of the source's artifact."""
    data: str
    """Fingerprint of the dataset, from whose clips the classes are drawn."""


class PrefixBank:
    """Reads windows of the videos in a store; each clip of a batch gets a video and a place of its own.

    Args:
        store: whole videos of the source, of one length.
        frames: of a window.
        device: where windows go.
        conditional: whether the videos' classes are asked for.
    """

    def __init__(self, store: ClipStore, frames: int, device: torch.device, *, conditional: bool) -> None:
        self._store, self._frames, self._device, self._conditional = store, frames, device, conditional
        self._starts = store.frames(0) - frames + 1
        self._labels = torch.tensor([-1 if (label := store.label(k)) is None else label for k in range(len(store))])

    def draw(self, batch: int) -> tuple[Sequence[Tensor], Span | None]:
        """The numbers of videos, and where in them the windows start, both int64 ``(B,)``."""
        bounds = (len(self._store), self._starts)
        return [ranks.per_clip(lambda count, high=high: torch.randint(high, (count,)), batch) for high in bounds], None

    def windows(self, latents: Latents, y: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Windows of the videos drawn, with those videos' classes, whatever ``y`` is.

        Raises:
            DamagedStoreError: the bank is damaged; the same command makes it anew.
        """
        videos, starts = latents.of_sources
        size = (self._store.height, self._store.width, self._store.channels)
        frames = torch.empty((len(videos), self._frames, *size), dtype=torch.uint8)
        into = frames.numpy()
        for row, (video, start) in enumerate(zip(videos.tolist(), starts.tolist(), strict=True)):
            self._store.strided(video, start, self._frames, 1, out=into[row])
        labels = self._labels[videos].to(self._device) if self._conditional else None
        return videos_of(frames, self._device), labels


def stage_bank(
    run: RunFolder,
    experiment: Experiment,
    stage: Stage,
    model: AdversarialStage,
    clips: StageClips,
    signals: StopSignals,
) -> PrefixBank | None:
    """The bank that ``stage`` trains on, which rank 0 makes if it is not there; None where it asks for none.

    Raises:
        InputError: the disk has no room for it.
        Stopped: asked to by a signal while it is made; nothing is left of it then.
    """
    training, sources, view = experiment.training_of(stage), model.sources, model.view
    if training.prefix_bank is None or sources is None or view is None:
        return None
    path, conditional = run.bank(stage.name), experiment.graph.classes is not None
    about = About(
        videos=training.prefix_bank,
        seed=experiment.seed,
        stage=stage.name,
        artifact=manifest_digest(run.artifact(sources.links[-1].name)),
        data=clips.dataset.fingerprint,
    )

    def before_batch() -> None:
        if signals.agreed_stop():
            raise signals.stop(f"the bank of {stage.name}")

    def make() -> None:
        if stands(path, about):
            return
        own = join(stage_path(stage), "training") if "prefix_bank" in stage.training else "training"
        announce(path, about, sources.clip, join(own, "prefix_bank"))
        random = generator_at(experiment.seed, stage.name, "bank", "labels")
        labels = clips.labels(about.videos, random) if conditional else None
        classes = clips.dataset.classes if conditional else None
        write_bank(path, sources, about, labels, classes, training.standing_batch, before_batch)

    on_first(make)
    store = together(lambda: ClipStore(str(path)))
    return PrefixBank(store, model.data.frames // view.time, model.device, conditional=conditional)


def stands(path: Path, about: About) -> bool:
    """Whether the bank is there, every byte of it as it was written; what else is in its place is told of."""
    if not path.exists():
        return False
    fault = _fault(path, about)
    if fault is not None:
        note(f"{path}: {fault}; it is made anew")
    return fault is None


def announce(path: Path, about: About, clip: Clip, where: str) -> None:
    """Say what room a bank of videos of ``clip`` takes.

    Raises:
        InputError: on ``where``, when the disk has less.
    """
    folder = next(each for each in path.absolute().parents if each.exists())
    size, free = about.videos * math.prod(clip.shape(1)), shutil.disk_usage(folder).free
    what = f"{about.videos} source videos of {clip}, {size / 1e6:,.1f} MB"
    if size > free:
        allowed = f"at most {free * about.videos // size}"
        raise InputError.of(where, f"{what}, are more than the {free / 1e6:,.1f} MB free in {folder}", allowed)
    say(f"{about.stage}: making a bank of {what}, in {path}")


def write_bank(
    path: Path,
    sources: Cascade,
    about: About,
    labels: Tensor | None,
    classes: Sequence[str] | None,
    batch: int,
    before_batch: Callable[[], None] = lambda: None,
) -> None:
    """Generate the videos of a bank, straight into its store, which replaces whatever stands at ``path``.

    Args:
        path: of the store.
        sources: whose last stage's videos are kept.
        about: what the bank is made of.
        labels: the class of every video, int64 ``(videos,)``; None when unconditional.
        classes: their names.
        batch: videos generated at a time.
        before_batch: called before each batch; may raise to stop, and nothing of the bank is left.
    """
    clip = sources.clip
    settings = Settings.of(clip.height, clip.width, clip.channels, clip.stride, "none")
    bar = Progress(total=about.videos, desc=f"bank {about.stage}", unit="video")
    with StoreWriter(path, settings, classes) as writer, bar:
        for first in range(0, about.videos, batch):
            before_batch()
            numbers = range(first, min(first + batch, about.videos))
            y = None if labels is None else labels[numbers.start : numbers.stop].to(sources.device)
            pieces = [frames_of(piece) for piece in sources.last(bank_noise(sources, about, numbers), y)]
            for k, frames in zip(numbers, np.concatenate(pieces, axis=1), strict=True):
                writer.append(f"{k:08d}", frames, None if labels is None else int(labels[k]))
            bar.update(len(numbers))
        writer.finish(attrs.asdict(about))


def bank_noise(sources: Cascade, about: About, numbers: Sequence[int]) -> list[Tensor]:
    """Noise of a bank's videos ``numbers`` for every source, ``(len(numbers), noise_dim)`` each."""
    rows = []
    for k in numbers:
        random = generator_at(about.seed, about.stage, "bank", k)
        rows.append([torch.randn(link.generator.noise_dim, generator=random) for link in sources.links])
    return [torch.stack(each).to(sources.device) for each in zip(*rows, strict=True)]


def _fault(path: Path, about: About) -> str | None:
    """What keeps the store at ``path`` from being the bank, as a clause; None when nothing does."""
    try:
        store = ClipStore(str(path))
    except InputError as error:
        return error.problems[0].what.removeprefix(f"{path}: ")
    if found := differences(store.manifest.request, attrs.asdict(about)):
        return f"is the bank of something else ({'; '.join(found)})"
    if damages := verify(store):
        return f"{damages[0].file} {damages[0].what}"
    return None
