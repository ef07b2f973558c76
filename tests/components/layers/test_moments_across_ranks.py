"""The per-frame batch norm on several ranks against one process with the joined batch."""

from pathlib import Path

import torch
from torch import distributed, multiprocessing

from components.layers import ConditionalBatchNorm
from components.layers.moments import moments

FRAMES, C, D = 3, 2, 4
SIZES = (1, 3, 0)
"""Videos per rank: ranks need not have equally many, nor any."""


def make_norm() -> ConditionalBatchNorm:
    torch.manual_seed(0)
    return ConditionalBatchNorm(C, D).double()


def make_batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Videos with a mean far above their spread, conditions, and weights of the loss."""
    generator = torch.Generator().manual_seed(1)
    batch = sum(SIZES)
    x = torch.randn(batch, FRAMES, C, 2, 2, generator=generator, dtype=torch.double) + 30
    condition = torch.randn(batch, D, generator=generator, dtype=torch.double)
    return x, condition, torch.randn(x.shape, generator=generator, dtype=torch.double)


def step(norm: ConditionalBatchNorm, part: slice) -> dict[str, torch.Tensor]:
    """Forward and backward of a loss summed over the videos ``part``."""
    x, condition, weights = (each[part] for each in make_batch())
    x.requires_grad_()
    y = norm(x, condition)
    (y.square() * weights).sum().backward()
    return {
        "y": y.detach(),
        "x_grad": x.grad,
        "running_mean": norm.running_mean,
        "running_var": norm.running_var,
        "gain_grad": norm.gain.parametrizations.weight.original.grad,
        "bias_grad": norm.bias.parametrizations.weight.original.grad,
    }


def make_far() -> torch.Tensor:
    """Single-precision videos whose mean is 10,000 times their spread, each video's a little different."""
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(sum(SIZES), FRAMES, C, 4, 4, generator=generator, dtype=torch.double)
    return (x + 10_000 + torch.arange(sum(SIZES)).view(-1, 1, 1, 1, 1)).float()


def work(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=len(SIZES))
    start = sum(SIZES[:rank])
    part = slice(start, start + SIZES[rank])
    torch.save(step(make_norm(), part) | {"far": moments(make_far()[part])}, f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


def test_ranks_equal_one_process(tmp_path: Path):
    """Output, running statistics, gradients of inputs and weights are those of the joined batch; far from 0 as well."""
    multiprocessing.spawn(work, args=(str(tmp_path),), nprocs=len(SIZES))
    ranks = [torch.load(tmp_path / f"{rank}.pt") for rank in range(len(SIZES))]
    joined = step(make_norm(), slice(None))

    variance, mean = torch.var_mean(make_far().double(), (0, 3, 4), correction=0)
    for rank in ranks:
        torch.testing.assert_close(rank["far"][0].double(), mean, rtol=1e-7, atol=0)
        torch.testing.assert_close(rank["far"][1].double(), variance, rtol=1e-3, atol=0)
        assert rank["far"][2].tolist() == [sum(SIZES) * 16]

    for name in ("y", "x_grad"):
        torch.testing.assert_close(torch.cat([rank[name] for rank in ranks]), joined[name])
    for name in ("running_mean", "running_var"):
        for rank in ranks:
            torch.testing.assert_close(rank[name], joined[name])
    for name in ("gain_grad", "bias_grad"):  # of a sum over videos: the ranks' gradients add up
        torch.testing.assert_close(sum(rank[name] for rank in ranks), joined[name])
