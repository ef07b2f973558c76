"""Clips on disk, and what reads them."""

from datasets.base import Frames, VideoDataset
from datasets.reader import ClipStore
from datasets.sampler import ClipSampler, positions
from datasets.sources.synthetic import SyntheticClips
from datasets.store import DamagedStoreError

__all__ = ["ClipSampler", "ClipStore", "DamagedStoreError", "Frames", "SyntheticClips", "VideoDataset", "positions"]
