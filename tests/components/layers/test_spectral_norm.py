"""Spectral normalisation and orthogonal initialisation of the layers everything is built of."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import parametrizations

from components.layers import (
    ConditionalBatchNorm,
    ConvGRU,
    DiscriminatorBlock2d,
    DiscriminatorBlock3d,
    GeneratorBlock2d,
    GeneratorBlock3d,
    SeparableAttention,
    SeparableConv3d,
    conv2d,
    conv3d,
    embedding,
    linear,
    orthogonal_init_,
    spectral_norm,
)
from components.layers.spectral_norm import SpectralNorm

VIDEO = torch.randn(2, 3, 4, 4, 4)
CONDITION = torch.randn(2, 5)

LAYERS = {
    "conv2d": lambda: conv2d(3, 5),
    "conv2d 1x1": lambda: conv2d(7, 2, 1),
    "conv2d 3x1": lambda: conv2d(3, 5, (3, 1)),
    "conv3d": lambda: conv3d(2, 4),
    "linear": lambda: linear(6, 3),
    "embedding": lambda: embedding(9, 4),
}

USES = {
    "ConvGRU": (lambda: ConvGRU(4, 3), lambda m: m(VIDEO)),
    "SeparableConv3d": (lambda: SeparableConv3d(4, 3), lambda m: m(VIDEO)),
    "ConditionalBatchNorm": (lambda: ConditionalBatchNorm(4, 5), lambda m: m(VIDEO, CONDITION)),
    "GeneratorBlock2d": (lambda: GeneratorBlock2d(4, 3, 5, upsample=True), lambda m: m(VIDEO, CONDITION)),
    "GeneratorBlock3d": (lambda: GeneratorBlock3d(4, 3, 5), lambda m: m(VIDEO, CONDITION)),
    "DiscriminatorBlock2d": (lambda: DiscriminatorBlock2d(4, 3), lambda m: m(VIDEO[0])),
    "DiscriminatorBlock3d": (lambda: DiscriminatorBlock3d(4, 3), lambda m: m(VIDEO.transpose(1, 2))),
    "SeparableAttention": (lambda: SeparableAttention(4), lambda m: m(VIDEO)),
}


def spectral_norms(module: nn.Module) -> list[nn.Module]:
    return [part for part in module.modules() if isinstance(part, SpectralNorm)]


def count_uses(module: nn.Module, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count the power iterations of each normalised weight in ``module`` from now on."""
    counts = [0] * len(spectral_norms(module))
    for index, norm in enumerate(spectral_norms(module)):

        def iterate(*args, index=index, method=norm.iterate):
            counts[index] += 1
            method(*args)

        monkeypatch.setattr(norm, "iterate", iterate)
    return counts


@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_the_largest_singular_value_becomes_one(make):
    """With the power iteration converged, the weight is the original over its largest singular value (by SVD)."""
    layer = make()
    original = layer.parametrizations.weight.original
    with torch.no_grad():
        original.copy_(torch.randn_like(original))
        for _ in range(200):
            weight = layer.weight  # training mode: each read is one iteration
        expected = original / torch.linalg.svdvals(original.flatten(1)).max()
    torch.testing.assert_close(layer.eval().weight, expected, rtol=1e-4, atol=1e-5)
    assert torch.linalg.svdvals(weight.flatten(1)).max().item() == pytest.approx(1, abs=1e-4)


def test_equals_torch_step_by_step():
    """From the same vectors, weights and gradients over several forwards are those of torch's own spectral norm."""
    ours, theirs = (torch.nn.Conv2d(3, 4, 3).double() for _ in range(2))
    theirs.load_state_dict(ours.state_dict())
    spectral_norm(ours)
    parametrizations.spectral_norm(theirs)
    norm, reference = ours.parametrizations.weight[0], theirs.parametrizations.weight[0]
    for vector, other in ((norm.u, reference._u), (norm.v, reference._v)):
        vector.copy_(nn.functional.normalize(torch.randn_like(vector), dim=0))
        other.copy_(vector)
    x, weights = torch.randn(2, 3, 5, 5).double(), torch.randn(2, 4, 3, 3).double()
    for layer in (ours, theirs):
        (sum(layer(k * x) for k in range(1, 4)) * weights).sum().backward()
    torch.testing.assert_close(ours.weight, theirs.weight)
    torch.testing.assert_close(ours.parametrizations.weight.original.grad, theirs.parametrizations.weight.original.grad)


@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_the_original_weight_is_orthogonal(make):
    """The trained tensor has orthonormal rows, or columns if it has fewer of these; biases are zero."""
    layer = make()
    matrix = layer.parametrizations.weight.original.detach().flatten(1)
    if matrix.shape[0] > matrix.shape[1]:
        matrix = matrix.T
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(len(matrix)), rtol=0, atol=1e-5)
    if getattr(layer, "bias", None) is not None:
        assert not layer.bias.any()


@pytest.mark.parametrize(("make", "use"), USES.values(), ids=USES)
def test_one_forward_is_one_power_iteration_per_weight(make, use, monkeypatch):
    """In training mode each weight is iterated exactly once per forward, in evaluation mode never."""
    module = make()
    counts = count_uses(module, monkeypatch)
    use(module)
    assert counts == [1] * len(counts)
    assert counts
    use(module.eval())
    assert counts == [1] * len(counts)


@pytest.mark.parametrize(("make", "use"), USES.values(), ids=USES)
def test_every_weight_is_normalised_and_trained(make, use):
    """No weight of two or more dimensions escapes the normalisation, and every parameter gets a gradient."""
    module = make()
    plain = [
        name for name, value in module.named_parameters() if value.dim() > 1 and not name.endswith("weight.original")
    ]
    assert plain == []
    if isinstance(module, SeparableAttention):
        for axis in module.layers.values():  # whose gain of zero at first keeps gradients from the weights
            nn.init.ones_(axis.gain)
    use(module).square().sum().backward()
    assert [name for name, value in module.named_parameters() if value.grad is None] == []


@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_layers_are_made_on_the_meta_device(make):
    """Layers can be built without memory, with the same parameters and buffers."""
    with torch.device("meta"):
        hollow = make()
    assert {name: value.shape for name, value in hollow.state_dict().items()} == {
        name: value.shape for name, value in make().state_dict().items()
    }
    assert all(value.is_meta for value in hollow.state_dict().values())


@settings(max_examples=10, deadline=None)
@given(kernel=st.sampled_from([1, 3, 5, (3, 1), (1, 3)]), height=st.integers(1, 6), width=st.integers(1, 6))
def test_convolutions_keep_the_size(kernel, height, width):
    """Zero padding makes up for the kernel, whatever its size."""
    assert conv2d(2, 3, kernel)(torch.zeros(1, 2, height, width)).shape == (1, 3, height, width)


def test_orthogonal_init_reaches_nested_layers():
    """All layers of a network are initialised, nested ones too, and the network itself is returned."""
    network = nn.Sequential(nn.Linear(3, 3), nn.Sequential(nn.Conv1d(2, 2, 1), nn.ReLU()))
    assert orthogonal_init_(network) is network
    for layer in (network[0], network[1][0]):
        matrix = layer.weight.detach().flatten(1)
        torch.testing.assert_close(matrix @ matrix.T, torch.eye(len(matrix)), rtol=0, atol=1e-5)
        assert not layer.bias.any()
