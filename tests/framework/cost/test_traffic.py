"""Bytes of operations whose operands are known."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F

from framework.cost.meter import Meter

A, B, C = 6, 5, 4
F32, BF16, I64 = 4, 2, 8
OPERATIONS = {
    "sum of two": (lambda x, y: x + x.clone(), (A * B + A * B) * F32 + 3 * A * B * F32),
    "in place": (lambda x, y: x.mul_(2), 2 * A * B * F32),
    "product": (lambda x, y: x @ y, (A * B + B * C + A * C) * F32),
    "views": (lambda x, y: x.t().reshape(B, A)[1:].unsqueeze(0), 0),
    "nothing written": (lambda x, y: torch.empty_like(x), 0),
    "zeros": (lambda x, y: torch.zeros_like(x), A * B * F32),
    "expanded": (lambda x, y: x + torch.empty(1, 1).expand(A, B), (2 * A * B + 1) * F32),
    "cast": (lambda x, y: x.bfloat16(), A * B * (F32 + BF16)),
    "picked rows": (lambda x, y: F.embedding(torch.empty(2, dtype=torch.int64), x), 2 * 2 * B * F32 + 2 * I64),
    "put side by side": (lambda x, y: torch.cat([x, x], 1), 4 * A * B * F32),
    "convolution": (
        lambda x, y: F.conv2d(x.view(1, 1, A, B), torch.empty(3, 1, 3, 3), padding=1),
        (A * B + 3 * 9 + 3 * A * B) * F32,
    ),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_each_operand_is_moved_once(name):
    """Inputs are read and outputs written, each once; views and allocations move nothing."""
    operation, expected = OPERATIONS[name]
    with FakeTensorMode():
        x, y = torch.empty(A, B), torch.empty(B, C)
        with Meter() as meter:
            operation(x, y)
    assert sum(each.bytes for each in meter.operations) == expected
