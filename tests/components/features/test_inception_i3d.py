"""The I3D network: its size and names as published, its padding, and its wiring against one written down otherwise."""

import math

import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from components.features.inception_i3d import InceptionI3d, same_padded

# Szegedy et al. (2015), table 1: channels of #1x1, #3x3 reduce, #3x3, #5x5 reduce, #5x5, pool proj.
TABLE = {
    "3b": (192, 64, 96, 128, 16, 32, 32),
    "3c": (256, 128, 128, 192, 32, 96, 64),
    "4b": (480, 192, 96, 208, 16, 48, 64),
    "4c": (512, 160, 112, 224, 24, 64, 64),
    "4d": (512, 128, 128, 256, 24, 64, 64),
    "4e": (512, 112, 144, 288, 32, 64, 64),
    "4f": (528, 256, 160, 320, 32, 128, 128),
    "5b": (832, 256, 160, 320, 32, 128, 128),
    "5c": (832, 384, 192, 384, 48, 128, 128),
}


def convolutions():
    """Name, input and output channels and kernel of every convolution with a norm."""
    yield from [("Conv3d_1a_7x7", 3, 64, 7), ("Conv3d_2b_1x1", 64, 64, 1), ("Conv3d_2c_3x3", 64, 192, 3)]
    for name, (before, one, r3, three, r5, five, pool) in TABLE.items():
        branches = {"b0": (before, one, 1), "b1a": (before, r3, 1), "b1b": (r3, three, 3)}
        branches |= {"b2a": (before, r5, 1), "b2b": (r5, five, 3), "b3b": (before, pool, 1)}
        yield from ((f"Mixed_{name}.{branch}", *shape) for branch, shape in branches.items())


def test_names_and_shapes_are_the_usual_ones():
    """Every tensor of the state dict, derived from the table of the Inception network with cubes for squares."""
    expected = {"logits.conv3d.weight": (600, 1024, 1, 1, 1), "logits.conv3d.bias": (600,)}
    for name, before, after, kernel in convolutions():
        expected[f"{name}.conv3d.weight"] = (after, before, kernel, kernel, kernel)
        norms = {f"{name}.bn.{tensor}": (after,) for tensor in ("weight", "bias", "running_mean", "running_var")}
        expected |= norms | {f"{name}.bn.num_batches_tracked": ()}
    with torch.device("meta"):
        state = InceptionI3d(600).state_dict()
    assert {name: tuple(tensor.shape) for name, tensor in state.items()} == expected
    assert len(list(convolutions())) == 57


def test_its_size_is_that_of_the_published_file():
    """The tensors fill the published rgb_imagenet.pt (50,883,138 bytes), but for what names and headers take."""
    with torch.device("meta"):
        network = InceptionI3d(400)
    numbers = sum(tensor.numel() for tensor in network.state_dict().values() if tensor.ndim)
    assert 0 < 50_883_138 - 4 * numbers < 50_000
    assert sum(tensor.numel() for tensor in network.parameters()) == 12_697_264  # 12 million (their table 1)


@settings(max_examples=60, deadline=None)
@given(size=st.integers(1, 12), kernel=st.integers(1, 7), stride=st.integers(1, 3))
def test_padding_is_that_of_tensorflow(size, kernel, stride):
    """Windows lie at multiples of the stride, as centred as they can be, with the odd zero at the end."""
    x = torch.arange(1.0, size + 1).reshape(1, 1, size, 1, 1)
    padded = same_padded(x, (kernel, 1, 1), (stride, 1, 1)).flatten().tolist()
    count = math.ceil(size / stride)
    outside = max((count - 1) * stride + kernel - size, 0)
    before = outside // 2
    for place in range(count):
        window = padded[place * stride : place * stride + kernel]
        seen = [place * stride - before + tap for tap in range(kernel)]
        assert window == [index + 1 if 0 <= index < size else 0 for index in seen]


def test_padding_at_stride_one_is_torchs_own():
    """Along three axes of different sizes, against torch's "same" convolution, and torch's order of axes."""
    x, weight = torch.randn(2, 3, 4, 5, 6), torch.randn(2, 3, 1, 3, 5)
    ours = F.conv3d(same_padded(x, (1, 3, 5), (1, 1, 1)), weight)
    torch.testing.assert_close(ours, F.conv3d(x, weight, padding="same"))


def unit(state, name, x, stride=1):
    weight = state[f"{name}.conv3d.weight"]
    pads = []
    for axis in (4, 3, 2):
        k, rest = weight.shape[axis], x.shape[axis] % stride
        total = max(k - (rest or stride), 0)
        pads += [total // 2, total - total // 2]
    x = F.conv3d(F.pad(x, pads), weight, stride=stride)
    mean, variance = (state[f"{name}.bn.running_{moment}"][:, None, None, None] for moment in ("mean", "var"))
    x = (x - mean) / torch.sqrt(variance + 0.001)
    return torch.relu(
        x * state[f"{name}.bn.weight"][:, None, None, None] + state[f"{name}.bn.bias"][:, None, None, None]
    )


def pool(x, kernel, stride):
    """The maximum of what is there: minus infinity stands outside."""
    pads = []
    for size, k, s in zip(x.shape[:1:-1], kernel[::-1], stride[::-1], strict=True):
        total = max(k - (size % s or s), 0)
        pads += [total // 2, total - total // 2]
    return F.max_pool3d(F.pad(x, pads, value=-math.inf), kernel, stride)


def reference(state, x):
    x = pool(unit(state, "Conv3d_1a_7x7", x, 2), (1, 3, 3), (1, 2, 2))
    x = pool(unit(state, "Conv3d_2c_3x3", unit(state, "Conv3d_2b_1x1", x)), (1, 3, 3), (1, 2, 2))
    for name in TABLE:
        if name in ("4b", "5b"):
            x = pool(x, (3, 3, 3) if name == "4b" else (2, 2, 2), (2, 2, 2))
        at = f"Mixed_{name}."
        branches = [unit(state, at + "b0", x)]
        branches += [unit(state, f"{at}b{n}b", unit(state, f"{at}b{n}a", x)) for n in (1, 2)]
        branches.append(unit(state, at + "b3b", pool(x, (3, 3, 3), (1, 1, 1))))
        x = torch.cat(branches, 1)
    x = torch.stack([x[:, :, t : t + 2].mean((2, 3, 4)) for t in range(x.shape[2] - 1)], -1)
    logits = torch.einsum("oi,bit->bot", state["logits.conv3d.weight"].flatten(1), x)
    return x.mean(-1), logits.mean(-1) + state["logits.conv3d.bias"]


@torch.no_grad()
def test_the_whole_network_against_plain_functions():
    """17 frames (an odd number at every halving) through a second implementation, of functions of the state dict."""
    torch.manual_seed(0)
    network = InceptionI3d(400).eval()
    for name, tensor in network.state_dict().items():
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 2)
        elif "bn." in name and tensor.ndim:
            tensor.add_(torch.randn_like(tensor) * 0.2)
    x = torch.rand(1, 3, 17, 224, 224) * 2 - 1
    for ours, theirs in zip(network(x), reference(network.state_dict(), x), strict=True):
        assert theirs.std() > 0.01
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)
