"""Operations on fake tensors are counted as they are: FLOPs by hand, and answers that nobody could give."""

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F

from framework.cost.meter import Meter


def test_flops_are_those_of_the_formula():
    """A convolution and a linear map, forward and backward: 2 per multiplication and addition, by hand."""
    batch, height, width, c_in, c_out, features = 3, 8, 6, 4, 5, 7
    with FakeTensorMode():
        convolution, linear = nn.Conv2d(c_in, c_out, 3, padding=1), nn.Linear(c_out, features)
        x = torch.empty(batch, c_in, height, width)
        with Meter() as meter:
            linear(convolution(x).mean((2, 3))).sum().backward()

    conv = 2 * batch * height * width * c_in * c_out * 9
    product = 2 * batch * c_out * features
    # The picture asks for no gradient; all else needs those of its input and of its weight.
    assert sum(operation.flops for operation in meter.operations) == 2 * conv + 3 * product
    assert sum(operation.flops for operation in meter.operations if operation.convolution) == 2 * conv


def test_attention_is_counted():
    """Two products forward; backward the scores again and four of gradients, by hand: fake tensors are a CPU's."""
    lines, heads, length, channels = 3, 2, 7, 5
    with FakeTensorMode():
        q, k, v = (torch.empty(lines, heads, length, channels, requires_grad=True) for _ in range(3))
        with Meter() as meter:
            F.scaled_dot_product_attention(q, k, v).sum().backward()
    product = 2 * lines * heads * length * length * channels
    assert sum(operation.flops for operation in meter.operations) == (2 + 5) * product


def test_precision_is_that_of_the_product():
    """Under autocast the products are noted in the half precision that they are computed in."""
    with FakeTensorMode():
        x, weight = torch.empty(4, 4), torch.empty(4, 4)
        with Meter() as meter, torch.autocast("cpu", torch.bfloat16):
            F.linear(x, weight)
    assert {operation.dtype for operation in meter.operations if operation.flops} == {torch.bfloat16}


def test_parts_are_where_they_are_said_to_be():
    """Operations belong to the innermost part, and to the outer one again after it."""
    with FakeTensorMode():
        x = torch.empty(2)
        with Meter() as meter, meter.during("outer"):
            x + x
            meter.within("inner", torch.mul)(x, x)
            x - x
    assert [operation.part for operation in meter.operations] == ["outer", "inner", "outer"]


@pytest.mark.parametrize(("asked", "answer"), [(torch.bool, True), (torch.int64, 3), (torch.float32, 0)])
def test_what_fake_tensors_cannot_tell(asked, answer):
    """Gradients are finite, no scale overflows, and a whole number is the window's."""
    with FakeTensorMode(), Meter(window=3):
        assert torch.empty(2, dtype=asked)[0].item() == answer
