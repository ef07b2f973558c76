"""A bank of whole source videos in a clip store, whose windows a stage trains on instead of new ones each update.

Making x̂_l costs a run of the frozen stages at every update; reading it costs next to nothing. In return the stage
meets the same source videos again, in other windows, and x̂_l as it is stored: rounded to 256 values, as the real
x_l are. The bank follows from the run's seed, the stage, the source's artifact and the data, so that it need not be
kept: another's is made anew, and of an unfinished or a damaged one what is not whole (:mod:`framework.make_bank`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import torch
from torch import Tensor

from components import ranks
from components.clip import Span
from datasets import ClipStore, DamagedStoreError
from framework.adversarial_stage import AdversarialStage
from framework.artifact import manifest_digest
from framework.bank_room import bank_field
from framework.batch import Latents
from framework.experiment import Experiment
from framework.graph import Stage
from framework.make_bank import About, stands, suspect, write_bank
from framework.pixel_values import videos_of
from framework.randomness import generator_at
from framework.run_folder import RunFolder
from framework.stage_data import StageClips
from framework.stopping import StopSignals
from framework.together import on_first, together
from registry.cli import say


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
            DamagedStoreError: the bank is damaged; the next start looks at all of it, and makes anew what is.
        """
        videos, starts = latents.of_sources
        size = (self._store.height, self._store.width, self._store.channels)
        frames = torch.empty((len(videos), self._frames, *size), dtype=torch.uint8)
        into = frames.numpy()
        try:
            for row, (video, start) in enumerate(zip(videos.tolist(), starts.tolist(), strict=True)):
                self._store.strided(video, start, self._frames, 1, out=into[row])
        except DamagedStoreError:
            with contextlib.suppress(OSError):  # the damage itself is what has to be told
                suspect(self._store.path).touch()
            raise
        labels = self._labels[videos].to(self._device) if self._conditional else None
        return videos_of(frames, self._device), labels


def tell_of_bank(run: RunFolder, stage: Stage) -> None:
    """Say that the bank of a stage that is done, if it has one, takes room for nothing."""
    path = run.bank(stage.name)
    if path.exists():
        size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
        say(f"{stage.name}: the bank {path} ({size / 1e6:,.1f} MB) is not needed any more, and can be deleted")


def stage_bank(
    run: RunFolder,
    experiment: Experiment,
    stage: Stage,
    model: AdversarialStage,
    clips: StageClips,
    signals: StopSignals,
) -> PrefixBank | None:
    """The bank that ``stage`` trains on, which all ranks make if it is not there; None where it asks for none.

    Raises:
        InputError: the disk has no room for it.
        Stopped: asked to by a signal while it is made; the next start goes on from the shards that are whole.
    """
    training, sources, view = experiment.training_of(stage), model.sources, model.view
    if training.prefix_bank is None or sources is None or view is None:
        return None
    path, conditional = run.bank(stage.name), experiment.graph.classes is not None
    about = together(
        lambda: About(
            videos=training.prefix_bank or 0,
            seed=experiment.seed,
            stage=stage.name,
            artifact=manifest_digest(run.artifact(sources.links[-1].name)),
            data=clips.dataset.fingerprint,
        )
    )

    def before_batch() -> None:
        if signals.agreed_stop():
            raise signals.stop(f"the bank of {stage.name}")

    if not on_first(lambda: stands(path, about)):
        random = generator_at(experiment.seed, stage.name, "bank", "labels")
        labels = together(lambda: clips.labels(about.videos, random)) if conditional else None
        classes = clips.dataset.classes if conditional else None
        write_bank(path, sources, about, labels, classes, training.standing_batch, before_batch, bank_field(stage))
    store = together(lambda: ClipStore(str(path)))
    return PrefixBank(store, model.data.frames // view.time, model.device, conditional=conditional)
