"""Compiled networks on two ranks whose gradients are reduced in several buckets: those of networks as written."""

from pathlib import Path

import torch
from ranks import results
from tiny_runs import last_checkpoint, run_of, two_stages
from torch import distributed, nn
from torch._dynamo.backends.distributed import DDPOptimizer
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.nn.parallel import DistributedDataParallel

from framework.run_folder import RunFolder

BUCKET_MB = 1 / 1024
"""Of which these networks have several, as large ones have of the usual 25."""


def reduce(seen: set[int], bucket: distributed.GradBucket) -> torch.futures.Future[torch.Tensor]:
    seen.add(bucket.index())
    return allreduce_hook(None, bucket)


def on_a_rank(folder: Path, networks: tuple[str, ...], bucket_mb: float) -> tuple[list[int], list[int]]:
    """Trains the first stage; in how many buckets each of its networks was reduced, and each graph was cut."""
    torch.set_default_dtype(torch.float64)
    torch._dynamo.reset()
    wrap, compiled, cut = DistributedDataParallel.__init__, nn.Module.compile, DDPOptimizer.compile_fn
    reduced, parts = [], []

    def in_small_buckets(wrapper, *arguments, **options):
        wrap(wrapper, *arguments, bucket_cap_mb=bucket_mb, **options)
        reduced.append(set())
        wrapper.register_comm_hook(reduced[-1], reduce)

    def counted(optimizer, *arguments):
        made = cut(optimizer, *arguments)
        parts.append(len(optimizer.buckets))
        return made

    DistributedDataParallel.__init__, DDPOptimizer.compile_fn = in_small_buckets, counted
    # What torch takes the first bucket's size to be where it cuts a compiled graph at the buckets.
    distributed._DEFAULT_FIRST_BUCKET_BYTES = int(bucket_mb * 2**20)
    nn.Module.compile = lambda module: compiled(module, backend="aot_eager")
    run_of(two_stages(compile=networks, iterations=2), folder, only="base")
    return [len(each) for each in reduced], parts


def test_in_several_buckets(tmp_path):
    """Weights, statistics and singular vectors after two iterations: to seven digits the plain ones."""
    wanted = {
        "plain": ((), 25.0),
        "compiled": (("generator", "discriminators"), BUCKET_MB),
    }
    found = {name: results(on_a_rank, 2, tmp_path / f"ranks {name}", tmp_path / name, *wanted[name]) for name in wanted}
    assert found["plain"] == [([1, 1], [])] * 2
    for buckets, parts in found["compiled"]:
        assert len(buckets) == 2
        assert min(buckets) > 1
        assert max(parts) > 1
    plain, compiled = (last_checkpoint(RunFolder(tmp_path / name), "base")["model"] for name in wanted)
    torch.testing.assert_close(compiled, plain, rtol=1e-6, atol=1e-7)
