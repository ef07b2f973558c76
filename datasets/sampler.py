"""Which clip, and which of its frames, stands at a position of the endless training sequence.

Everything here is a pure function of the seed and the position: nothing advances, so a run that starts at
any position sees what a run that came from the beginning would have seen there.
"""

from __future__ import annotations

import functools
import hashlib
from typing import Literal

import numpy as np
import numpy.typing as npt

from registry import InputError

# The first number of a spawn key, one per purpose, so that no two draws share their random numbers.
_PERMUTATION, _START, _DRAW = range(3)


class ClipSampler:
    """Every usable clip once per epoch, in a seeded order, at a uniformly drawn temporal offset.

    Args:
        lengths: number of frames of every clip, ``(clips,)``.
        frames: how many frames a sample has.
        seed: at least 0.
        short: with ``"error"`` a clip of fewer frames is refused, with ``"skip"`` it is left out.

    Raises:
        InputError: a clip is too short, or (with ``"skip"``) all of them are.
    """

    def __init__(
        self, lengths: npt.ArrayLike, frames: int, seed: int, *, short: Literal["error", "skip"] = "error"
    ) -> None:
        self.lengths = np.asarray(lengths, dtype=np.int64)
        self.frames = frames
        self.seed = seed
        usable = self.lengths >= frames
        if short == "error" and not usable.all():
            first = int(np.argmin(usable))
            what = (
                f"{int((~usable).sum())} of {len(usable)} clips have fewer than {frames} frames "
                f'(clip {first} has {self.lengths[first]}); leave them out with short="skip"'
            )
            raise InputError.of("frames", what)
        if not usable.any():
            raise InputError.of("frames", f"no clip has {frames} frames; the longest has {self.lengths.max(initial=0)}")
        self.clips = np.flatnonzero(usable)
        """The usable clips, in the dataset's order."""

    def __len__(self) -> int:
        """Positions in an epoch: the number of usable clips."""
        return len(self.clips)

    def __call__(self, position: int) -> tuple[int, int]:
        """The clip at ``position``, and the frame of it that the sample starts with."""
        epoch, place = divmod(position, len(self))
        clip = int(self.clips[_permutation(self.seed, epoch, len(self))[place]])
        starts = int(self.lengths[clip]) - self.frames + 1
        return clip, _uniform(starts, self.seed, _START, position)

    def draw(self, position: int, bound: int, stream: int = 0) -> int:
        """Whatever else is random about the sample: a whole number from 0 to below ``bound``, of each ``stream``."""
        return _uniform(bound, self.seed, _DRAW, stream, position)


def positions(iteration: int, batch: int, rank: int = 0, world: int = 1) -> range:
    """The positions that one process takes in one iteration.

    Together the processes take ``batch`` consecutive positions, interleaved, so that which samples make
    up a batch does not depend on how many processes share it.

    Args:
        iteration: counted from 0.
        batch: samples of all processes together.
        rank: this process.
        world: number of processes.

    Raises:
        InputError: the processes cannot share the batch evenly.
    """
    if batch % world:
        raise InputError.of("batch_size", f"{batch} samples cannot be shared evenly by {world} processes")
    return range(iteration * batch + rank, (iteration + 1) * batch, world)


# Two: a batch may lie across the end of an epoch.
@functools.lru_cache(maxsize=4)
def _permutation(seed: int, epoch: int, clips: int) -> npt.NDArray[np.int64]:
    return _generator(seed, _PERMUTATION, epoch).permutation(clips)


def _generator(seed: int, *key: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def _uniform(bound: int, *key: int) -> int:
    """A whole number from 0 to below ``bound``: a hash, a tenth of the cost of a generator that is used once."""
    digest = hashlib.blake2b(repr(key).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") * bound >> 64
