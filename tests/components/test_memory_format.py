"""How videos lie in memory changes nothing but rounding: every shipped network with channels last and as shapes say."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from network_makers import NETWORKS, backward, buffers, gradients, make, make_inputs
from torch import Tensor, nn

from components.layers import fold_time, lay_channels_last, lying, unfold_time
from components.layers.folding import stack_time

CHANNELS_LAST = {2: torch.channels_last, 3: torch.channels_last_3d}


def inputs_of_convolutions(network: nn.Module, name: str) -> list[tuple[Tensor, nn.Module]]:
    seen: list[tuple[Tensor, nn.Module]] = []
    handles = [
        part.register_forward_pre_hook(lambda module, args: seen.append((args[0], module)))
        for part in network.modules()
        if isinstance(part, nn.Conv2d | nn.Conv3d) and part.kernel_size[-1] > 1
    ]
    with torch.no_grad():
        network(**make_inputs(name, 2))
    for handle in handles:
        handle.remove()
    return seen


@pytest.mark.parametrize("name", [name for name in NETWORKS if not name.startswith("timm")])
def test_nothing_changes_but_rounding(name: str) -> None:
    """Outputs, gradients and buffers over two steps; what convolutions get lies as asked for; parameters stay."""
    networks, results = (make(name), make(name)), []
    for network, wanted in zip(networks, (True, False), strict=True):
        lay_channels_last(network, wanted)
        torch.manual_seed(0)
        outputs = [backward(network, make_inputs(name, 4, seed)) for seed in range(2)]
        results.append([outputs, gradients(network), buffers(network)])
        assert all(parameter.is_contiguous() for parameter in network.parameters())
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-5)
    last = [
        x.is_contiguous(memory_format=CHANNELS_LAST[x.dim() - 2]) for x, _ in inputs_of_convolutions(networks[0], name)
    ]
    assert last
    assert all(last)
    lying_so = [x.is_contiguous() for x, _ in inputs_of_convolutions(networks[1], name)]
    assert sum(lying_so) >= 0.5 * len(lying_so)  # a convolution over time, too, has its own way


@settings(max_examples=30, deadline=None)
@given(shape=st.tuples(*[st.integers(1, 4)] * 5), last=st.booleans(), expand=st.booleans())
def test_folding_keeps_values_and_lie(shape: tuple[int, ...], last: bool, expand: bool) -> None:
    """Folded, unfolded and stacked frames are those of the video, and lie as it does."""
    x = lying(torch.randn(shape), channels_last=last)
    video = x[:, :1].expand(-1, 3, -1, -1, -1) if expand else x
    folded = fold_time(video)
    assert torch.equal(folded, video.reshape(-1, *shape[2:]))
    assert torch.equal(unfold_time(folded, video.shape[1]), video)
    assert torch.equal(stack_time(list(video.unbind(1))), video)
    memory = torch.channels_last if last else torch.contiguous_format
    assert folded[:1].is_contiguous(memory_format=memory)
    assert fold_time(stack_time(list(video.unbind(1))))[:1].is_contiguous(memory_format=memory)
    for wanted in (True, False):
        assert torch.equal(lying(x, channels_last=wanted), x)
