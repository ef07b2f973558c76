"""Writing small stores for tests."""

import numpy as np

from datasets import ClipStore
from datasets.store import Settings
from datasets.writer import StoreWriter

SHAPE = (4, 6, 3)
CLASSES = ("cat", "dog")


def write_store(path, clips, *, codec="none", classes=CLASSES, shard_frames=24):
    """A store of ``clips`` in shards of ``shard_frames`` frames, three chunks of eight each by default."""
    settings = Settings.of(*SHAPE, 2, codec, shard_bytes=shard_frames * int(np.prod(SHAPE)))
    with StoreWriter(path, settings, classes) as writer:
        for number, frames in enumerate(clips):
            label = None if classes is None else number % len(classes)
            writer.append(f"video_{number}.mp4", frames, label)
        writer.finish({"made": "by a test"})
    return ClipStore(path=str(path))


def random_clips(lengths, seed=0):
    random = np.random.default_rng(seed)
    return [random.integers(0, 256, (length, *SHAPE), dtype=np.uint8) for length in lengths]
