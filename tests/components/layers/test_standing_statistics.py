"""Standing statistics, and samples by the batch's own statistics."""

import pytest
import torch
from torch import nn

from components.layers import (
    ConditionalBatchNorm,
    GeneratorBlock2d,
    batch_statistics,
    reserve_statistics,
    standing_statistics,
)

C, D, FRAMES = 3, 2, 4


class TwoNorms(nn.Module):
    """A norm behind a block with norms, and a dropout that shows the mode."""

    def __init__(self) -> None:
        super().__init__()
        self.block = GeneratorBlock2d(C, C, D)
        self.dropout = nn.Dropout(0.5)
        self.norm = ConditionalBatchNorm(C, D)

    def forward(self, x, condition):
        return self.norm(self.dropout(self.block(x, condition)), condition)


def batches(count: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return [(torch.randn(3, FRAMES, C, 2, 2), torch.randn(3, D)) for _ in range(count)]


def state_without_statistics(module: nn.Module) -> dict[str, torch.Tensor]:
    return {
        name: value.clone()
        for name, value in module.state_dict().items()
        if "running" not in name and "tracked" not in name
    }


def test_standing_statistics_are_the_mean_over_all_passes():
    """Of each timestep: the mean over passes of the batch's mean and of its unbiased variance, at the norm's input."""
    network = TwoNorms()
    network(*batches(1)[0])  # statistics to be forgotten
    seen = []
    hook = network.norm.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    with torch.no_grad(), standing_statistics(network, FRAMES):
        for batch in batches(7):
            network(*batch)
    hook.remove()
    means = torch.stack([x.mean(dim=(0, 3, 4)) for x in seen])
    variances = torch.stack([x.var(dim=(0, 3, 4), correction=1) for x in seen])
    torch.testing.assert_close(network.norm.running_mean, means.mean(0))
    torch.testing.assert_close(network.norm.running_var, variances.mean(0))
    assert network.norm.batches_tracked.tolist() == [7] * FRAMES
    assert network.norm.momentum == 0.1


def test_each_pass_is_normalised_by_its_own_batch():
    """Inside the context the output's every frame has mean 0 and variance 1, up to the condition."""
    norm = ConditionalBatchNorm(C, D).eval()
    with torch.no_grad(), standing_statistics(norm, FRAMES):
        y = norm(torch.randn(64, FRAMES, C, 2, 2) * 7 + 3, torch.zeros(64, D))
    torch.testing.assert_close(y.mean(dim=(0, 3, 4)), torch.zeros(FRAMES, C), atol=1e-5, rtol=0)
    torch.testing.assert_close(y.var(dim=(0, 3, 4), correction=0), torch.ones(FRAMES, C), atol=1e-4, rtol=0)


@pytest.mark.parametrize("training", [True, False])
def test_standing_statistics_touch_nothing_else(training):
    """Weights and singular vectors stay bit for bit, dropout is off inside, and the mode is as before afterwards."""
    network = TwoNorms().train(training)
    network.dropout.train(not training)  # a part in another mode than the whole
    before = state_without_statistics(network)
    with torch.no_grad(), standing_statistics(network, FRAMES):
        first, second = (network(*batch) for batch in [batches(1)[0]] * 2)
    assert torch.equal(first, second)
    assert all(torch.equal(value, before[name]) for name, value in state_without_statistics(network).items())
    assert [network.training, network.block.training, network.dropout.training] == [training, training, not training]
    assert all(norm.statistics is None for norm in network.modules() if isinstance(norm, ConditionalBatchNorm))


def test_modes_come_back_after_an_error():
    """A pass that fails leaves the network in the mode it had."""
    network = TwoNorms().train()
    with pytest.raises(RuntimeError, match="shape"), standing_statistics(network, FRAMES):
        network(torch.zeros(1, FRAMES, C, 2, 2), torch.zeros(1, D + 1))
    assert network.training
    assert (network.norm.momentum, network.norm.statistics) == (0.1, None)


def test_windows_give_the_statistics_of_whole_videos():
    """Passes in overlapping windows estimate what passes over whole videos do."""
    whole, windows = ConditionalBatchNorm(C, D), ConditionalBatchNorm(C, D)
    with torch.no_grad(), standing_statistics(whole, FRAMES), standing_statistics(windows, FRAMES):
        for x, condition in batches(3):
            whole(x, condition)
            windows(x[:, :3], condition)
            windows(x[:, 2:], condition, start=2)
    torch.testing.assert_close(windows.running_mean, whole.running_mean)
    torch.testing.assert_close(windows.running_var, whole.running_var)


@pytest.mark.parametrize("training", [True, False])
def test_batch_statistics_remember_nothing(training):
    """Samples by the batch's own statistics equal training mode's, and leave all buffers bit for bit."""
    norm, (x, condition) = ConditionalBatchNorm(C, D), batches(1)[0]
    expected = norm(x, condition)
    norm.train(training)
    before = {name: value.clone() for name, value in norm.named_buffers() if "running" in name or "tracked" in name}
    with batch_statistics(norm):
        y = norm(x, condition)
        norm(x[:, :1].expand(-1, FRAMES + 2, -1, -1, -1), condition)  # longer than the statistics
    torch.testing.assert_close(y, expected)
    assert all(torch.equal(value, dict(norm.named_buffers())[name]) for name, value in before.items())


def test_reserved_rows_change_nothing_but_shapes():
    """Reserved before the first batch, shorter or longer than it, statistics become what they would have."""
    x, condition = batches(1)[0]
    norms = [ConditionalBatchNorm(C, D) for _ in range(3)]
    for norm, frames in zip(norms, (0, FRAMES - 1, FRAMES + 2), strict=True):
        reserve_statistics(norm, frames)
        assert norm.frames == frames
        norm(x, condition)
        reserve_statistics(norm, 1)
    for norm in norms[1:]:
        for name in ("running_mean", "running_var", "batches_tracked"):
            assert torch.equal(getattr(norm, name)[:FRAMES], getattr(norms[0], name))
    assert [norm.frames for norm in norms] == [FRAMES, FRAMES, FRAMES + 2]
    assert norms[2].batches_tracked.tolist() == [1] * FRAMES + [0, 0]
