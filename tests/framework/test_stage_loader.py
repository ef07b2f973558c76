"""The loader with shared slots: right batches from any workers, never written to while they are held."""

import gc

import numpy as np
import pytest
import torch

from framework.stage_data import PositionBatches
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


@pytest.mark.parametrize(("workers", "start"), [(0, None), (1, "fork"), (2, "fork"), (2, "spawn")])
def test_batches_come_in_order(workers, start):
    """With any number of workers, started either way, the batches are those of the positions, and twice the same."""
    loader = StageLoader(Numbered(), PositionBatches(3, 15, 1, 4), workers, start)
    for _ in range(1 if start == "spawn" else 2):
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
        gc.collect()
    assert len(set(places)) <= 6


def test_error_of_a_worker_arrives():
    """What a sample raises in a worker is raised where the batch is asked for."""

    class Broken(Numbered):
        def read(self, position, out):
            return super().read(position - 6, out)

    with pytest.raises(ValueError, match="no such position"):
        list(StageLoader(Broken(), PositionBatches(0, 3, 1, 4), 1, "fork"))
