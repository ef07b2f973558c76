"""Memory that runs out in one of the processes."""

import resource
from pathlib import Path

import pytest
import torch
from commands import ended, errors
from tiny_runs import two_stages

from components import ranks
from framework.adversarial_stage import AdversarialStage

EXPERIMENT = two_stages(iterations=2, checkpoint_every=1, sample_every=4, samples=1, standing_passes=2)


def _memory_runs_out(kind: str, rank: int) -> None:
    """In the second stage's first forward on ``rank``: as CUDA says it, or really, by a limit of the process."""
    draw = AdversarialStage.draw

    def drawing(model, batch, *prefix):
        if model.stage.name == "full" and ranks.rank() == rank:
            if kind == "cuda":
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
            used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (used + 2**28, resource.RLIM_INFINITY))
            torch.ones(2**30)
        return draw(model, batch, *prefix)

    AdversarialStage.draw = drawing


@pytest.mark.parametrize(("kind", "world", "rank"), [("cuda", 1, 0), ("cuda", 2, 1), ("limit", 1, 0), ("limit", 2, 0)])
def test_out_of_memory(tmp_path, kind, world, rank):
    """One line that says which stage, how many clips and what to lower; exit code 2 in all ranks."""
    processes = ended(
        EXPERIMENT, tmp_path / "run", tmp_path / "scratch", _memory_runs_out, kind, rank, world=world, stage=None
    )
    assert [each.wait() for each in processes] == [2] * world, [each.err for each in processes]
    clips = 4 // world
    [line] = errors(processes[rank])
    who = "" if world == 1 else f"rank {rank}: "
    memory = "the GPU's memory" if kind == "cuda" else "memory"
    assert line == (
        f"error: {who}full: {memory} is too small for {clips} clips at once; allowed: "
        f"training.clips_per_gpu={clips // 2} or training.activation_checkpointing=true or training.precision=bfloat16"
    )
    if rank == 0:  # it speaks for all
        assert [errors(each) for each in processes[1:]] == [[]] * (world - 1)
    else:
        [line] = errors(processes[0])
        assert f"rank {rank} (host " in line
        assert f"full: {memory} is too small" in line
