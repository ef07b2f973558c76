"""Image backbones: what the timm network is given, and what is refused."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from components.backbones import ImageBackbone
from components.clip import Clip
from components.discriminators import TimmDiscriminator
from registry import DISCRIMINATORS, FEATURES, InputError, Registry, use

IMAGENET_MEAN = torch.tensor([0.485, 0.456, 0.406]).reshape(3, 1, 1)
IMAGENET_STD = torch.tensor([0.229, 0.224, 0.225]).reshape(3, 1, 1)


def images(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 2 - 1


@torch.no_grad()
def test_images_are_normalised_as_the_backbone_was_trained() -> None:
    """Large enough images reach the network as (image in [0, 1] - mean) / std, at their own size."""
    backbone = ImageBackbone("resnet18", 3).eval()
    x = images(2, 3, 48, 40)
    torch.testing.assert_close(backbone(x), backbone.network(((x + 1) / 2 - IMAGENET_MEAN) / IMAGENET_STD))


@torch.no_grad()
def test_small_images_are_enlarged() -> None:
    """Below 32 pixels images are enlarged bilinearly, in their own shape."""
    backbone = ImageBackbone("test_convnext", 3).eval()
    x = images(2, 3, 8, 12)
    large = F.interpolate(x, (32, 48), mode="bilinear", align_corners=False)
    torch.testing.assert_close(backbone(x), backbone(large))
    assert not torch.allclose(backbone(x), backbone(x.flip(-1)))


@pytest.mark.parametrize(("name", "size"), [("test_vit", (160, 160)), ("test_convnext", None)])
def test_backbones_of_one_size_get_that_size(name: str, size: tuple[int, int] | None) -> None:
    """A transformer of fixed input size is given it whatever the images' size; others keep theirs."""
    backbone = ImageBackbone(name, 3).eval()
    assert backbone.size == size
    assert backbone(images(2, 3, 16, 16)).shape == (2, backbone.features)


def test_other_channels_use_the_mean_statistics() -> None:
    """Grey images are normalised with the averages of the three channels' statistics."""
    backbone = ImageBackbone("resnet18", 1)
    assert backbone.mean.item() == pytest.approx(0.449, abs=1e-3)
    assert backbone.std.item() == pytest.approx(0.226, abs=1e-3)
    network = TimmDiscriminator(Clip(9, 16, 16, channels=1), backbone="test_convnext")
    assert network(images(2, 9, 1, 16, 16)).shape == (2, 8)


@pytest.mark.parametrize(("kind", "name"), [(DISCRIMINATORS, "TimmDiscriminator"), (FEATURES, "TimmFeatures")])
def test_unknown_backbone_names_the_nearest(kind: Registry, name: str) -> None:
    """A misspelt backbone is an error on the option, with the model that it looks like."""
    with pytest.raises(InputError) as error:
        kind.build(use(name, backbone="convnext_ato"), clip=Clip(4, 16, 16))
    assert [problem.where for problem in error.value.problems] == ["backbone"]
    assert "did you mean 'convnext_atto'?" in str(error.value)
