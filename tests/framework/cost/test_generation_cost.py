"""FLOPs of a generated clip."""

import pytest
import torch
from counted import flops, tiny

from framework.cost.generation import flops_per_clip
from framework.cost.step import build_sources


@pytest.mark.parametrize("name", ["base", "full"])
def test_stages_sum_to_the_cascade(name):
    """What the stages cost alone is together what a real cascade does for a clip of its whole length."""
    experiment, _ = tiny()
    cascade = build_sources(experiment, name)
    noise, labels = cascade.noise(1), torch.zeros(1, dtype=torch.int64)
    alone = [flops_per_clip(experiment, stage.name) for stage in experiment.graph.chain(name)]
    assert sum(alone) == flops(lambda: cascade.videos(noise, labels))
