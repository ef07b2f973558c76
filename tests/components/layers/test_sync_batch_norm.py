"""The batch norm that takes the place of torch's inside a network."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from components.layers import synchronize_batch_norms


class Activated(nn.BatchNorm2d):
    """A batch norm with an activation of its own after it, as timm has them."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x):
        return self.act(super().forward(x))


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda: nn.BatchNorm2d(3), (2, 3, 4, 5)),
        (lambda: nn.BatchNorm2d(3, momentum=None), (2, 3, 4, 5)),
        (lambda: nn.BatchNorm2d(3, affine=False), (2, 3, 4, 5)),
        (lambda: nn.BatchNorm2d(3, track_running_stats=False), (2, 3, 4, 5)),
        (lambda: nn.BatchNorm1d(3), (6, 3)),
        (lambda: Activated(3), (2, 3, 4, 5)),
    ],
)
def test_equals_torchs(make, shape):
    """Outputs, gradients and buffers over three batches, then evaluation mode; the names are the same."""
    theirs = nn.Sequential(make()).double()
    for parameter in theirs.parameters():
        nn.init.normal_(parameter)
    ours = nn.Sequential(make()).double()
    ours.load_state_dict(theirs.state_dict())
    synchronize_batch_norms(ours)
    assert type(ours[0]).__name__ == "SyncBatchNorm"
    batches = [torch.randn(shape, dtype=torch.double) + 5 for _ in range(3)]
    weights = torch.randn(shape, dtype=torch.double)
    results = []
    for network in (theirs, ours):
        inputs = [batch.clone().requires_grad_() for batch in batches]
        outputs = [network(x) for x in inputs]
        sum((y.square() * weights).sum() for y in outputs).backward()
        outputs.append(network.eval()(inputs[0]))
        grads = [x.grad for x in inputs] + [parameter.grad for parameter in network.parameters()]
        results.append((outputs, grads, dict(network.named_buffers()), list(network.state_dict())))
    torch.testing.assert_close(results[1][:3], results[0][:3])
    assert results[1][3] == results[0][3]


def test_has_a_second_derivative():
    """Gradients of gradients, by finite differences."""
    norm = nn.Sequential(nn.BatchNorm2d(2)).double()
    synchronize_batch_norms(norm)
    assert torch.autograd.gradgradcheck(norm, torch.randn(2, 2, 2, 2, dtype=torch.double, requires_grad=True))
