"""``network.compile()`` with torch's own backend, which turns graphs into machine code, against a network as written.

One small network: what graphs are made of all of them, and when, is in ``test_compile``. A kernel's C++ takes a second
to compile, and this discriminator has 16 of them, the smallest of the generators 27.
"""

from __future__ import annotations

import os
import shutil

import pytest
import torch
from network_makers import backward, buffers, gradients, make, make_inputs

from components.layers import reserve_statistics

FRAMES, SMALL = 4, 8
COMPILER = os.environ.get("CXX", "g++")

pytestmark = pytest.mark.skipif(
    shutil.which(COMPILER) is None, reason=f"torch.compile needs a C++ compiler, and there is no {COMPILER}"
)


def test_a_step_is_the_plain_one() -> None:
    """Outputs, gradients and buffers of a discriminator over two steps, in one graph."""
    name = "temporal"
    plain, compiled = make(name, SMALL), make(name, SMALL)
    for network in (plain, compiled):
        reserve_statistics(network, FRAMES)
    torch._dynamo.reset()
    compiled.compile(fullgraph=True)
    with torch._dynamo.config.patch(error_on_recompile=True):
        for seed in range(2):
            outputs = [backward(network, make_inputs(name, 2, seed, SMALL)) for network in (compiled, plain)]
            torch.testing.assert_close(*outputs, rtol=1e-4, atol=1e-5)
    torch._dynamo.reset()
    torch.testing.assert_close(gradients(compiled), gradients(plain), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(buffers(compiled), buffers(plain), rtol=1e-4, atol=1e-5)
