"""Every registered component computes on the device of what it is given: what a CPU hides, a GPU refuses."""

import inspect
from contextlib import nullcontext

import pytest
import torch
from one_device import OneDevice
from torch import nn

from components.clip import Clip
from components.features.inception_i3d import SIZE, InceptionI3d
from components.layers import PowerIterations, batch_statistics, standing_statistics
from components.views import NearestView
from registry import CLASSIFIERS, DISCRIMINATORS, FEATURES, GENERATORS, LOSSES, VIEWS, Component

CLIP, CLASSES, BATCH = Clip(frames=4, height=16, width=16), 3, 2
LOW = NearestView(time=2, space=2)
GIVEN = {"clip": CLIP, "view": LOW, "classes": CLASSES}

VARIANTS = {
    "DVDGenerator": [{"attention": (8, 16), "attention_axes": ("height", "width", "time")}],
    "UpsamplingGenerator": [
        {"temporal_layer": "convgru"},
        {"temporal_layer": "resnet3d"},
        {"attention": (16,), "attention_axes": ("time", "width")},
    ],
    "SpatialDiscriminator": [{"attention": (8,), "frames": 2}],
    "TemporalDiscriminator": [{"temporal_pooling": True, "attention": (4,)}],
    "MatchingDiscriminator": [{"attention": (4,)}],
    "GeometricHinge": [{"sum_frames": True}],
    "AntialiasedView": [{"time": 2, "space": 2}, {"space": 2, "interpolation": "bicubic"}],
    "AreaView": [{"time": 2, "space": 2}],
}
"""Options beside the defaults that lead elsewhere in the code."""
NEEDED = {
    "TimmDiscriminator": {"backbone": "test_convnext", "frames": 2},
    "TimmFeatures": {"backbone": "test_resnet"},
    "WindowView": {"frames": 2, "start": 1},
    "Compose": {"views": (Component("NearestView", {"time": 2}), Component("AntialiasedView", {"space": 2}))},
}
"""Options without which a component cannot be made, or not quickly."""
OF_FILES = {"I3D": lambda: InceptionI3d(400)}
"""Feature networks that need a file: what computes inside of them."""
OF_CLASSIFIERS = {"InDomainFeatures"}
"""Feature networks that a classifier computes inside of, which are tested by themselves."""


def cases(registry):
    """Each component of a registry with its defaults, and with what else there is of it."""
    return [
        pytest.param(name, options, id=f"{name} {' '.join(options)}".strip())
        for name in registry.names()
        for options in [NEEDED.get(name, {}), *VARIANTS.get(name, [])]
    ]


def built(registry, name, options):
    """On the meta device, as if on a GPU: built with it as the default device, used without."""
    few = {"multipliers": (2, 1)} if "multipliers" in registry.options(name) else {}
    with torch.device("meta"):
        return registry.build(Component(name, few | options), **GIVEN)


def meta(*shape):
    return torch.empty(shape, device="meta", requires_grad=True)


def labels():
    return torch.zeros(BATCH, dtype=torch.int64, device="meta")


def ran(network, call):
    """Forward and backward, the second time with nothing made elsewhere: what is kept is made the first time."""
    iterations = PowerIterations(network)
    for _ in range(2):
        with OneDevice() as mode:
            with iterations():
                out = call()
            out.sum().backward()
    assert mode.elsewhere == []
    return out


@pytest.mark.parametrize(("name", "options"), cases(GENERATORS))
def test_generators(name, options):
    """In training, with the batch's statistics and with running ones, whole and in pieces."""
    generator = built(GENERATORS, name, options)
    upsamples = "view" in inspect.signature(type(generator)).parameters
    x_l = meta(*LOW.clip(CLIP).shape(BATCH)) if upsamples else None
    z, y = meta(BATCH, generator.noise_dim), labels()
    assert ran(generator, lambda: generator(z, y, x_l)).device.type == "meta"
    with torch.no_grad(), OneDevice(), standing_statistics(generator, CLIP.frames):
        generator(z, y, x_l)
    generator.eval()
    for statistics in (batch_statistics(generator), nullcontext()):
        with torch.no_grad(), OneDevice() as mode, statistics:
            pieces = list(generator.stream(z, y, None if x_l is None else [x_l[:, :1], x_l[:, 1:]], CLIP.frames, 2))
        assert mode.elsewhere == []
    assert torch.cat(pieces, 1).shape == CLIP.shape(BATCH)


@pytest.mark.parametrize(("name", "options"), cases(DISCRIMINATORS))
def test_discriminators(name, options):
    """Frames are drawn where the video is."""
    discriminator = built(DISCRIMINATORS, name, options)
    x, x_l = meta(*CLIP.shape(BATCH)), meta(*LOW.clip(CLIP).shape(BATCH))
    assert ran(discriminator, lambda: discriminator(x, labels(), x_l)).device.type == "meta"


@pytest.mark.parametrize(("name", "options"), cases(VIEWS))
def test_views(name, options):
    """Kernels of blurs are made where the video is."""
    view, video = built(VIEWS, name, options), meta(*CLIP.shape(BATCH))
    assert tuple(ran(view, lambda: view(video)).shape) == view.clip(CLIP).shape(BATCH)


@pytest.mark.parametrize(("name", "options"), cases(LOSSES))
def test_losses(name, options):
    """Both sides."""
    loss, scores = built(LOSSES, name, options), [meta(BATCH, 3), meta(BATCH, 5)]
    ran(loss, lambda: loss.discriminator(scores, scores) + loss.generator(scores))


@pytest.mark.parametrize(("name", "options"), cases(CLASSIFIERS))
def test_classifiers(name, options):
    """Features and logits."""
    network, videos = built(CLASSIFIERS, name, options), meta(*CLIP.shape(BATCH))
    ran(network, lambda: torch.cat(network(videos), 1))


@pytest.mark.parametrize("name", sorted(set(FEATURES.names()) - OF_CLASSIFIERS))
def test_feature_networks(name):
    """Made on the CPU and moved, as an evaluation does."""
    if name in OF_FILES:
        with torch.device("meta"):
            network: nn.Module = OF_FILES[name]()
        videos = torch.empty(1, 3, 10, SIZE, SIZE, device="meta")
    else:
        network = FEATURES.build(Component(name, NEEDED.get(name, {}))).to("meta")
        videos = torch.empty(BATCH, network.min_frames + 1, *CLIP.shape(1)[2:], device="meta")
    with torch.no_grad(), OneDevice() as mode:
        network(videos)
    assert mode.elsewhere == []


class Elsewhere(nn.Module):
    """A mistake that no CPU notices."""

    def __init__(self, how):
        super().__init__()
        self.how = how

    def forward(self, x):
        if self.how == "mixes":
            return x * torch.ones(3)
        return x[:, torch.arange(2)] if self.how == "indexes" else x * torch.zeros(3).to(x.device)


@pytest.mark.parametrize(
    ("how", "said"), [("mixes", "mul mixes cpu and meta"), ("indexes", "index mixes cpu and meta")]
)
def test_a_mistake_is_found(how, said):
    """Tensors, and indices, that are on the CPU whatever the input's device."""
    network = Elsewhere(how)
    with pytest.raises(AssertionError, match=said):
        ran(network, lambda: network(meta(2, 3)))


def test_what_waits_for_the_host_is_found():
    """A tensor that is made on the CPU and moved at every call."""
    network = Elsewhere("moves")
    with pytest.raises(AssertionError, match="zeros"):
        ran(network, lambda: network(meta(2, 3)))
