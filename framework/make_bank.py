"""Making the bank of source videos that a stage trains on: by all ranks, from wherever it was left off.

Each rank generates the videos of other shards. Batches are cut in the same places whoever makes them, so that the bank
is the same for any number of ranks, and for one that was interrupted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import attrs
import numpy as np
import torch
from torch import Tensor

from components import ranks
from components.clip import Clip
from datasets import ClipStore
from datasets.base import Frames
from datasets.place import differences
from datasets.shard_writer import EvenClips, ShardWriter
from datasets.verify import survey, verify
from framework.bank_room import described, refuse_full_disk
from framework.cascade import Cascade
from framework.pixel_values import frames_of
from framework.randomness import generator_at
from framework.together import on_first, together
from registry import InputError
from registry.cli import note, say
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


def suspect(path: Path) -> Path:
    """The file that says, beside the bank at ``path``, that damage was met in it: the next start looks at all of it."""
    return path.with_name(f"{path.name}.suspect")


def stands(path: Path, about: About) -> bool:
    """Whether the bank is there; what else is in its place is told of.

    Manifest and index are held against their digests and every shard is opened, which takes little however large the
    bank is; its chunks are held against their checksums when training first reads them. Where that has found damage,
    every byte is looked at here.
    """
    if not path.exists():
        return False
    fault, own = _fault(path, about)
    if fault is None:
        suspect(path).unlink(missing_ok=True)
        return True
    note(f"{path}: {fault}; {'what is damaged' if own else 'it'} is made anew")
    return False


def write_bank(
    path: Path,
    sources: Cascade,
    about: About,
    labels: Tensor | None,
    classes: Sequence[str] | None,
    batch: int,
    before_batch: Callable[[], None] = lambda: None,
    where: str | None = None,
) -> None:
    """Generate what is not whole of a bank, straight into its store, which replaces whatever stands at ``path``.

    All ranks call it.

    Args:
        path: of the store.
        sources: whose last stage's videos are kept.
        about: what the bank is made of.
        labels: the class of every video, int64 ``(videos,)``; None when unconditional.
        classes: their names.
        batch: videos generated at a time.
        before_batch: called before each batch, in all ranks alike; may raise to stop: whole shards stay, and the same
            call goes on from them.
        where: the place of the number of videos, for the error, where what it takes is to be said and looked for first.

    Raises:
        InputError: on ``where``, when the disk has no room.
    """
    clip = sources.clip
    shape = (clip.frames, clip.height, clip.width, clip.channels)
    even = EvenClips.of(about.videos, shape, clip.stride, batch)
    writer = ShardWriter(path, even, classes, attrs.asdict(about))
    with ExitStack() as held:

        def begin() -> list[int]:
            held.enter_context(writer.held())
            if where is None:
                return writer.begin()
            return writer.begin(lambda missing: _announce(path, about, clip, where, _videos(even, missing)))

        _write_shards(writer, on_first(begin), _maker(sources, about, labels), batch, before_batch, about.stage)
        names = [f"{k:08d}" for k in range(about.videos)]
        on_first(lambda: writer.finish(names, None if labels is None else labels.tolist()))
        on_first(lambda: suspect(path).unlink(missing_ok=True))


def _announce(path: Path, about: About, clip: Clip, where: str, missing: int) -> None:
    """Say what room the ``missing`` videos of ``clip`` of a bank take.

    Raises:
        InputError: on ``where``, when the disk has less.
    """
    there = about.videos - missing
    refuse_full_disk(path, clip, missing, there, where)
    if there:
        say(f"{about.stage}: carrying on with a bank of {about.videos} source videos, {there} of them are there")
    if missing:
        say(f"{about.stage}: making a bank of {described(missing, clip)}, in {path}")


def _videos(even: EvenClips, shards: Sequence[int]) -> int:
    return sum(len(even.clips_of(shard)) for shard in shards)


def bank_noise(sources: Cascade, about: About, numbers: Sequence[int]) -> list[Tensor]:
    """Noise of a bank's videos ``numbers`` for every source, ``(len(numbers), noise_dim)`` each."""
    rows = []
    for k in numbers:
        random = generator_at(about.seed, about.stage, "bank", k)
        rows.append([torch.randn(link.generator.noise_dim, generator=random) for link in sources.links])
    return [torch.stack(each).to(sources.device) for each in zip(*rows, strict=True)]


def _maker(sources: Cascade, about: About, labels: Tensor | None) -> Callable[[Sequence[int]], Frames]:
    """What generates the frames of some of a bank's videos, ``(videos, T, H, W, C)``."""

    def make(numbers: Sequence[int]) -> Frames:
        y = None if labels is None else labels[list(numbers)].to(sources.device)
        with ranks.alone():
            pieces = [frames_of(piece) for piece in sources.last(bank_noise(sources, about, numbers), y)]
        return np.concatenate(pieces, axis=1)

    return make


def _write_shards(
    writer: ShardWriter,
    missing: Sequence[int],
    make: Callable[[Sequence[int]], Frames],
    batch: int,
    before_batch: Callable[[], None],
    stage: str,
) -> None:
    """Write the ``missing`` shards, as many at a time as there are ranks, each rank's own batch by batch."""
    even, world = writer.even, ranks.world()
    with Progress(total=_videos(even, missing), desc=f"bank {stage}", unit="video") as bar:
        for first in range(0, len(missing), world):
            turn = missing[first : first + world]
            own = turn[ranks.rank() :][:1]  # a last turn may have none for this rank
            made: list[Frames] = []
            # Every rank does every step of a turn, with nothing to do in some: what befalls one, all learn of.
            for start in range(0, even.per_shard, batch):
                before_batch()
                videos = [even.clips_of(shard)[start : start + batch] for shard in own]
                together(partial(made.extend, (make(numbers) for numbers in videos if numbers)))
                bar.update(sum(len(even.clips_of(shard)[start : start + batch]) for shard in turn))
            together(partial(_write_made, writer, own, made))


def _write_made(writer: ShardWriter, own: Sequence[int], made: Sequence[Frames]) -> None:
    for shard in own:
        writer.write(shard, np.concatenate([video for videos in made for video in videos]))


def _fault(path: Path, about: About) -> tuple[str | None, bool]:
    """What keeps the store at ``path`` from being the bank, as a clause or None; and whether it is this bank."""
    try:
        store = ClipStore(str(path))
    except InputError as error:
        return error.problems[0].what.removeprefix(f"{path}: "), False
    if found := differences(store.manifest.request, attrs.asdict(about)):
        return f"is the bank of something else ({'; '.join(found)})", False
    damages = verify(store) if suspect(path).exists() else survey(store)
    return (f"{damages[0].file} {damages[0].what}" if damages else None), True
