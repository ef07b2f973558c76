"""The shared trunk against plain functional code, and its sizes."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from components.discriminators.sampling import sample_frames
from components.discriminators.trunk import DiscriminatorTrunk
from registry import InputError


def convolve(x: Tensor, layer: nn.Conv2d | nn.Conv3d) -> Tensor:
    """The layer as a plain 3-D convolution of ``(B, C, T, H, W)``, whatever its own dimension."""
    weight = layer.weight if layer.weight.ndim == 5 else layer.weight.unsqueeze(2)
    return F.conv3d(x, weight, layer.bias, padding=[side // 2 for side in weight.shape[2:]])


def reference(trunk: DiscriminatorTrunk, x: Tensor, halves: list[bool]) -> Tensor:
    """The paper's network: relu-conv-relu-conv-pool beside 1x1-pool, then relu and the sum over space."""
    x = x.transpose(1, 2)
    for index, block in enumerate([*trunk.blocks_3d, *trunk.blocks_2d]):
        main = convolve(F.relu(x) if index else x, block.conv1)
        main = convolve(F.relu(main), block.conv2)
        x = main + (x if isinstance(block.skip, nn.Identity) else convolve(x, block.skip))
        if halves[index]:
            x = (x[..., ::2, :] + x[..., 1::2, :]) / 2
            x = (x[..., ::2] + x[..., 1::2]) / 2
    return x.clamp(min=0).sum(dim=(-2, -1)).transpose(1, 2)


@pytest.mark.parametrize("blocks_3d", [0, 2, 3])
def test_trunk_is_the_papers_network(blocks_3d: int) -> None:
    """Two halving blocks from 16x16 and one that keeps 4x4, some 3-D, with every bias in play."""
    trunk = DiscriminatorTrunk(3, (16, 16), channels=4, multipliers=(1, 2, 2), blocks_3d=blocks_3d).double().eval()
    x = torch.rand(2, 5, 3, 16, 16, dtype=torch.double) * 2 - 1
    with torch.no_grad():
        for name, parameter in trunk.named_parameters():
            if name.endswith("bias"):
                nn.init.uniform_(parameter)
        torch.testing.assert_close(trunk(x), reference(trunk, x, [True, True, False]))


def attended(layer: nn.Module, x: Tensor) -> Tensor:
    """Each axis in turn, by softmax over all pairs of its places: ``(B, T, C, H, W)``."""
    for axis, part in layer.layers.items():
        line = {"time": 1, "height": 3, "width": 4}[axis]
        tokens = x.movedim((line, 2), (3, 4))
        q, k, v = (tokens @ each.weight.T for each in (part.to_queries, part.to_keys, part.to_values))
        mixed = torch.softmax(q @ k.mT / q.shape[-1] ** 0.5, dim=-1) @ v
        x = x + part.gain * (mixed @ part.to_output.weight.T).movedim((3, 4), (line, 2))
    return x


@pytest.mark.parametrize(("blocks_3d", "axes"), [(0, ["height", "width"]), (1, ["height", "width", "time"])])
def test_attention_follows_the_blocks_of_its_resolutions(blocks_3d: int, axes: list[str]) -> None:
    """Frames on their own attend within themselves, networks that begin 3-D over time too, after 2-D blocks as well."""
    options = {"channels": 2, "multipliers": (1, 2, 2), "blocks_3d": blocks_3d}
    trunk = DiscriminatorTrunk(3, (16, 16), **options, attention=(8, 4)).double().eval()
    assert {key: list(layer.layers) for key, layer in trunk.attention.items()} == dict.fromkeys("012", axes)
    x = torch.rand(2, 3, 3, 16, 16, dtype=torch.double) * 2 - 1
    blocks = [*trunk.blocks_3d, *trunk.blocks_2d]
    with torch.no_grad():
        plain = trunk(x)
        for name, parameter in trunk.named_parameters():
            if name.endswith("gain"):
                nn.init.constant_(parameter, 0.8)
        expected = x
        for index, block in enumerate(blocks):
            layer = trunk.attention[str(index)]
            if index < blocks_3d:
                expected = attended(layer, block(expected.transpose(1, 2)).transpose(1, 2))
            else:
                expected = attended(layer, torch.stack([block(frame) for frame in expected.unbind(1)], dim=1))
        torch.testing.assert_close(trunk(x), expected.clamp(min=0).sum(dim=(-2, -1)))
    assert not torch.allclose(trunk(x), plain)
    first = DiscriminatorTrunk(3, (16, 16), **options, attention=(8,))
    assert list(first.attention) == ["0"]


def test_attention_is_nothing_at_first() -> None:
    """With gains of zero the features are those of the trunk without it, which has no other weights."""
    trunk = DiscriminatorTrunk(3, (8, 8), channels=2, multipliers=(1, 2), blocks_3d=1, attention=(4,)).eval()
    bare = DiscriminatorTrunk(3, (8, 8), channels=2, multipliers=(1, 2), blocks_3d=1).eval()
    missing = bare.load_state_dict(trunk.state_dict(), strict=False)
    assert missing.missing_keys == []
    assert {key.partition(".")[0] for key in missing.unexpected_keys} == {"attention"}
    x = torch.rand(1, 3, 3, 8, 8)
    assert torch.equal(trunk(x), bare(x))


@pytest.mark.parametrize("attention", [(16,), (8, 2)])
def test_attention_where_no_block_ends_is_refused(attention: tuple[int, ...]) -> None:
    """The input's own resolution is no block's output; the error lists those that are."""
    with pytest.raises(InputError, match=r"^attention: no block's output is (16x16|2x2); allowed: 4, 8$"):
        DiscriminatorTrunk(3, (16, 16), channels=1, multipliers=(1, 1, 1), attention=attention)


@pytest.mark.parametrize(
    ("size", "blocks", "expected"),
    [
        ((32, 32), 3, (4, 4)),
        ((32, 32), 5, (4, 4)),
        ((32, 32), 2, (8, 8)),
        ((20, 20), 5, (5, 5)),
        ((12, 12), 5, (6, 6)),
        ((16, 64), 5, (4, 16)),
        ((7, 8), 3, (7, 8)),
        ((2, 2), 2, (2, 2)),
    ],
)
def test_sizes_halve_until_four(size: tuple[int, int], blocks: int, expected: tuple[int, int]) -> None:
    """Both sides halve together down to four pixels, and never from an odd size; forward runs at each."""
    trunk = DiscriminatorTrunk(3, size, channels=2, multipliers=(1,) * blocks, blocks_3d=1)
    shapes: list[tuple[int, ...]] = []
    trunk.blocks_2d[-1].register_forward_hook(lambda block, inputs, output: shapes.append(tuple(output.shape[-2:])))
    assert trunk(torch.zeros(1, 2, 3, *size)).shape == (1, 2, 2)
    assert trunk.final_size == expected == shapes[0]


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 10_000))
def test_sampled_frames_are_different_frames_of_their_clip(frames: int, count: int, seed: int) -> None:
    """min(count, T) frames of each clip, none twice, every one unchanged and from its own clip."""
    video = torch.arange(3 * frames).reshape(3, frames, 1, 1, 1).expand(3, frames, 2, 4, 4)
    torch.manual_seed(seed)
    sampled = sample_frames(video, count)
    assert sampled.shape == (3, min(count, frames), 2, 4, 4)
    for clip in range(3):
        numbers = sampled[clip, :, 0, 0, 0].tolist()
        assert torch.equal(sampled[clip], video[clip, [number - clip * frames for number in numbers]])
        assert len(set(numbers)) == len(numbers)


def test_sampling_is_uniform_and_per_clip() -> None:
    """Over many clips every frame is drawn equally often, and clips of a batch draw different sets."""
    torch.manual_seed(0)
    video = torch.arange(10.0).reshape(1, 10, 1, 1, 1).expand(4000, 10, 1, 1, 1)
    drawn = sample_frames(video, 3).flatten(1)
    counts = torch.bincount(drawn.flatten().long(), minlength=10)
    # A frame is drawn by a clip with probability 0.3: 1200 times, standard deviation 29.
    assert (counts - 1200).abs().max() < 5 * 29
    assert len({tuple(sorted(row)) for row in drawn[:200].tolist()}) > 50
