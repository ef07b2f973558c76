"""The loader with shared slots: right batches from any workers, never written to while they are held."""

import numpy as np
import pytest
import torch

from components.clip import Clip
from datasets import ClipSampler, SyntheticClips
from framework import Stage, StageGraph, use
from framework.stage_data import PositionBatches, StageClips, StageData
from framework.stage_loader import StageLoader


class Numbered:
    """Samples whose every value tells the position."""

    shape = (2, 3, 4, 3)

    def read(self, position, out):
        if position < 0:
            raise ValueError("no such position")
        out[:] = position % 256
        return position


def values(batch):
    return batch["frames"][:, 0, 0, 0, 0].tolist()


@pytest.mark.parametrize(("workers", "start"), [(0, None), (1, "fork"), (2, "fork")])
def test_batches_come_in_order(workers, start):
    """With any number of workers the batches are those of the positions, and twice the same."""
    loader = StageLoader(Numbered(), PositionBatches(3, 15, 1, 4), workers, start)
    for _ in range(2):
        batches = list(loader)
        assert len(batches) == len(loader) == 12
        for number, batch in enumerate(batches, 3):
            assert batch["frames"].dtype == torch.uint8
            assert batch["frames"].shape == (4, 2, 3, 4, 3)
            assert values(batch) == batch["label"].tolist() == list(range(4 * number, 4 * number + 4))


@pytest.mark.parametrize("hold", ["tensor", "view", "array"])
def test_held_batches_stay_as_they_are(hold):
    """However many batches are held, whole or by a view of their memory, the workers do not write to them."""
    held = []
    for batch in StageLoader(Numbered(), PositionBatches(0, 40, 1, 4), 2):
        frames = batch["frames"]
        held.append({"tensor": frames, "view": frames[1:].permute(0, 4, 1, 2, 3), "array": frames.numpy()[1:]}[hold])
        del batch, frames
    for number, frames in enumerate(held):
        first = 4 * number + (hold != "tensor")
        assert np.unique(np.asarray(frames)).tolist() == [p % 256 for p in range(first, 4 * number + 4)]


def test_memory_is_used_again():
    """Batches that are let go of leave their memory to later ones."""
    places = []
    for batch in StageLoader(Numbered(), PositionBatches(0, 40, 1, 4), 2):
        places.append(batch["frames"].data_ptr())
        del batch
    assert len(set(places)) <= 6


@pytest.mark.parametrize(("workers", "start"), [(0, None), (1, "fork"), (2, "fork"), (1, "spawn")])
def test_ranks_and_workers_share_one_order_of_clips(workers, start):
    """However many workers read and ranks train, an epoch has every clip once, in one order, cut into batches."""
    dataset = SyntheticClips(clips=24, frames=5, size=8)
    sampler = ClipSampler(dataset.lengths(), 2, 3)
    assert sorted(sampler(position)[0] for position in range(24)) == list(range(24))
    graph = StageGraph(clip=Clip(2, 8, 8), stages=[Stage("only", clip=Clip(2, 8, 8), generator=use("none"))])
    data = StageData(graph, graph["only"], [], None)
    clips = StageClips(dataset, graph, data, 3)
    order = [dataset.window(*sampler(position), 2) for position in range(24)]
    for world in (1,) if start == "spawn" else (1, 2):
        shares = [PositionBatches(0, 4, 1, 6, rank, world) for rank in range(world)]
        ranks = [list(StageLoader(clips, share, workers, start)) for share in shares]
        for number in range(4):
            for rank in range(world):
                expected = order[6 * number + rank : 6 * number + 6 : world]
                np.testing.assert_array_equal(ranks[rank][number]["frames"].numpy(), np.stack(expected))


def test_error_of_a_worker_arrives():
    """What a sample raises in a worker is raised where the batch is asked for."""

    class Broken(Numbered):
        def read(self, position, out):
            return super().read(position - 6, out)

    with pytest.raises(ValueError, match="no such position"):
        list(StageLoader(Broken(), PositionBatches(0, 3, 1, 4), 1, "fork"))
