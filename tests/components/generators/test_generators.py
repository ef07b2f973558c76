"""The two generators: shapes and ranges, where x_l comes in, errors, and one power iteration per step."""

import pytest
import torch
from generator_makers import NOISE, make_dvd, make_inputs, make_upsampling, ready
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from components.clip import Clip, Span
from components.generators import DVDGenerator, UpsamplingGenerator
from components.layers import ConvGRU, GeneratorBlock3d, SeparableConv3d, batch_statistics
from components.layers.spectral_norm import SpectralNorm
from components.views import NearestView
from registry import GENERATORS, InputError, use

MAKERS = {
    "DVDGenerator": make_dvd,
    **{
        name: lambda frames, name=name, **o: make_upsampling(frames, temporal_layer=name, **o)
        for name in ("separable", "convgru", "resnet3d")
    },
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_a_training_step_reaches_every_parameter(make):
    """Videos have the clip's shape and lie in [-1, 1]; every parameter gets a gradient; statistics are tracked."""
    generator = make(4, attention=(8,)).double()
    video = generator(**make_inputs(generator, 4))
    assert video.shape == (2, 4, 3, 8, 8)
    assert -1 <= video.min() < video.max() <= 1
    video.square().sum().backward()
    assert [name for name, value in generator.named_parameters() if value.grad is None] == []
    assert all(value.tolist() == [1] * 4 for name, value in generator.named_buffers() if "batches" in name)


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_one_forward_is_one_power_iteration_per_weight(make, monkeypatch):
    """Training mode iterates each weight's singular vectors once; evaluation mode leaves them bit for bit."""
    generator = make(4, attention=(8,)).double()
    counts = {}
    for name, module in generator.named_modules():
        if isinstance(module, SpectralNorm):
            counts[name] = 0

            def iterate(*args, name=name, method=module.iterate):
                counts[name] += 1
                method(*args)

            monkeypatch.setattr(module, "iterate", iterate)
    generator(**make_inputs(generator, 4))
    assert set(counts.values()) == {1}
    weights = sum(value.dim() > 1 for value in generator.parameters())
    assert len(counts) == weights - 1  # all but the class embedding
    with batch_statistics(generator.eval()):
        generator(**make_inputs(generator, 4))
    assert set(counts.values()) == {1}


def test_temporal_layers_are_those_named():
    """The option chooses the layer, each unit has one, and it maps to the unit's channels."""
    for name, cls in (("separable", SeparableConv3d), ("convgru", ConvGRU), ("resnet3d", GeneratorBlock3d)):
        units = make_upsampling(4, multipliers=(3, 2, 1), temporal_layer=name).trunk.units
        assert [type(unit.temporal) for unit in units] == [cls] * 3
        assert [unit.block2.conv2.out_channels for unit in units] == [6, 4, 2]


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_noise_and_class_matter(make):
    """Another z, or another class, is another video."""
    generator = ready(make(4), 4)
    inputs = make_inputs(generator, 4)
    video = generator(**inputs)
    assert not torch.allclose(generator(**{**inputs, "z": -inputs["z"]}), video)
    assert not torch.allclose(generator(**{**inputs, "y": (inputs["y"] + 1) % 3}), video)


def test_unconditional_generators_take_no_class():
    """Without classes there is no embedding, and the noise alone conditions."""
    generator = DVDGenerator(Clip(2, 8, 8), channels=2, multipliers=(1,), noise_dim=NOISE)
    assert generator(torch.randn(2, NOISE)).shape == (2, 2, 3, 8, 8)
    assert generator.conditioning.dim == NOISE
    with pytest.raises(InputError, match=r"^y: "):
        generator(torch.randn(2, NOISE), torch.zeros(2, dtype=torch.long))


@settings(max_examples=6, deadline=None)
@given(space=st.sampled_from([1, 2, 4, 8]), units=st.integers(3, 5))
def test_x_l_is_added_up_to_its_own_resolution(space, units):
    """After each temporal layer and each block whose output is not larger than x_l, and after no other."""
    with torch.device("meta"):
        generator = make_upsampling(4, 32, space=space, multipliers=(1,) * units)
    size, expected = 4, []
    for unit in range(units):
        after = min(2 * size, 32)
        sizes = {"temporal": size, "block1": size, "block2": after}
        expected += [f"{unit}.{name}" for name, at in sizes.items() if at <= 32 // space]
        size = after
    found = [f"{index}.{name}" for index, unit in enumerate(generator.trunk.units) for name in unit.from_low]
    assert found == expected


@torch.no_grad()
def test_x_l_is_repeated_resized_and_mapped():
    """What is added is the nearest neighbour of x_l in time and space, through the 1x1 convolution."""
    generator = ready(make_upsampling(4, 16, space=2, multipliers=(2, 1)), 4)
    inputs = make_inputs(generator, 4)
    seen = {}
    for index, unit in enumerate(generator.trunk.units):
        for name, layer in unit.from_low.items():
            layer.register_forward_hook(lambda layer, args, out, key=(index, name): seen.update({key: (layer, out)}))
    generator(**inputs)
    for (index, name), (layer, added) in seen.items():
        size = 8 if (index, name) in [(0, "block2"), (1, "temporal"), (1, "block1")] else 4
        frames = inputs["x_l"][:, [0, 0, 1, 1]][..., :: 8 // size, :: 8 // size].flatten(0, 1)
        torch.testing.assert_close(added, F.conv2d(frames, layer.weight, layer.bias))
    assert len(seen) == 5


def test_x_l_of_any_kind_of_clip():
    """Grey x_l at another frame rate: its channels and the view's factor count."""
    generator = UpsamplingGenerator(
        Clip(6, 8, 8, channels=1), NearestView(time=3, space=2), channels=2, multipliers=(1, 1), noise_dim=NOISE
    )
    assert generator(torch.randn(2, NOISE), None, torch.rand(2, 2, 1, 4, 4)).shape == (2, 6, 1, 8, 8)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"z": torch.zeros(2, 7)}, r"^z: has shape \(2, 7\).*\(B, 5\)"),
        ({"z": torch.zeros(2, 5, 1)}, r"^z: "),
        ({"y": None}, r"^y: .*missing"),
        ({"y": torch.zeros(3, dtype=torch.long)}, r"^y: has shape \(3,\)"),
        ({"x_l": None}, r"^x_l: is missing"),
        ({"x_l": torch.zeros(2, 2, 3, 8, 8)}, r"^x_l: has shape \(2, 2, 3, 8, 8\).*\(2, T_l, 3, 4, 4\)"),
        ({"x_l": torch.zeros(3, 2, 3, 4, 4)}, r"^x_l: "),
        ({"span": Span(0, 1, 20)}, r"^x_l: has shape \(2, 2, 3, 4, 4\).*\(2, 1, 3, 4, 4\)"),
    ],
)
def test_wrong_arguments_are_refused(changes, message):
    """The error names the argument, its shape and the one expected."""
    generator = make_upsampling(4, multipliers=(1,))
    with pytest.raises(InputError, match=message):
        generator(**{**make_inputs(generator, 4), **changes})


def test_a_base_generator_takes_no_source():
    """x_l has no place in the first stage."""
    generator = make_dvd(2).double()
    with pytest.raises(InputError, match=r"^x_l: "):
        generator(**{**make_inputs(generator, 2), "x_l": torch.zeros(2, 2, 3, 4, 4)})
    assert generator.source_span(Span.whole(2)) is None


@pytest.mark.parametrize(
    ("size", "options", "message"),
    [
        ((128, 128), {"multipliers": (8, 8, 4, 2)}, r"^multipliers: 4 units cannot reach 128x128.*at least 5"),
        ((8, 8), {"multipliers": ()}, r"^multipliers: 0 units.*at least 1"),
        ((32, 64), {}, r"^clip: 32x64"),
        ((48, 48), {}, r"^clip: 48x48"),
        ((2, 2), {}, r"^clip: 2x2"),
        ((32, 32), {"attention": (4,)}, r"^attention: .*4x4.*8, 16, 32"),
        ((32, 32), {"attention_axes": ()}, r"^attention_axes: there is none; .*each of height, width, time at most"),
        ((32, 32), {"attention_axes": ("time", "width", "time")}, r"^attention_axes: time, width, time: one .* twice"),
    ],
)
def test_impossible_options_are_refused(size, options, message):
    """Sizes that the units cannot reach are errors of the spec, on the option to be changed."""
    with torch.device("meta"), pytest.raises(InputError, match=message):
        DVDGenerator(Clip(2, *size), **{"channels": 1, **options})


def test_are_built_from_a_spec():
    """The registry builds both by name, and refuses what the annotations do not allow."""
    clip = Clip(4, 8, 8)
    with torch.device("meta"):
        base = GENERATORS.build(use("DVDGenerator", channels=2, multipliers=[1, 1]), clip=clip, view=None, classes=3)
        assert isinstance(base, DVDGenerator)
        component = use("UpsamplingGenerator", channels=2, multipliers=[1], temporal_layer="resnet3d")
        built = GENERATORS.build(component, clip=clip, view=NearestView(time=2, space=2), classes=None)
        assert isinstance(built, UpsamplingGenerator)
    problems = GENERATORS.check(use("UpsamplingGenerator", temporal_layer="convgro", channels=0))
    assert sorted(problem.where for problem in problems) == ["channels", "temporal_layer"]


PAPER_SIZES = {
    # generator's clip, view, classes, options, units that upsample
    "kinetics base": (Clip(25, 32, 32), None, 600, {}, 3),
    "kinetics upsampling": (Clip(12, 128, 128), NearestView(time=2, space=4), 600, {}, 5),
    "bdd middle": (
        Clip(12, 64, 64),
        NearestView(time=2, space=2),
        None,
        {"channels": 96, "multipliers": (8, 4, 4, 2, 2)},
        4,
    ),
    "bdd full": (
        Clip(12, 128, 128),
        NearestView(time=2, space=2),
        None,
        {"channels": 96, "multipliers": (8, 4, 4, 2, 2)},
        5,
    ),
    "dvd-gan": (Clip(12, 128, 128), None, 600, {"multipliers": (8, 8, 8, 4, 2)}, 5),
}


@pytest.mark.parametrize(("clip", "view", "classes", "options", "upsampling"), PAPER_SIZES.values(), ids=PAPER_SIZES)
def test_paper_sizes(clip, view, classes, options, upsampling):
    """The paper's configurations give its clips; the first log2(size / 4) units upsample."""
    with torch.device("meta"):
        if view is None:
            generator, x_l = DVDGenerator(clip, classes, **options), None
        else:
            generator = UpsamplingGenerator(clip, view, classes, **options)
            x_l = torch.zeros(view.clip(clip).shape(2))
        y = None if classes is None else torch.zeros(2, dtype=torch.long)
        assert generator(torch.zeros(2, 128), y, x_l).shape == clip.shape(2)
    units = generator.trunk.units
    assert [unit.block2.upsample for unit in units] == [True] * upsampling + [False] * (len(units) - upsampling)
