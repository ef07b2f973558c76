"""Image backbones: what the timm network is given, and what is refused."""

from __future__ import annotations

from pathlib import Path

import huggingface_hub
import pytest
import torch
import torch.nn.functional as F

from components.backbones import ImageBackbone
from components.clip import Clip
from components.discriminators import TimmDiscriminator
from components.features import TimmFeatures
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


def test_missing_weights_are_a_clean_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With no network and an empty cache, `pretrained` is refused in one line that names the option."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(InputError, match=r"^pretrained: the weights of 'test_convnext' cannot be loaded") as error:
        TimmFeatures(backbone="test_convnext", pretrained=True)
    assert len(str(error.value).splitlines()) == 1


@torch.no_grad()
def test_features_are_averaged_over_frames() -> None:
    """A video's features are the mean of those of its frames, each seen at the backbone's own size."""
    network = TimmFeatures(backbone="test_convnext")
    assert (network.min_frames, network.backbone.size) == (1, (160, 160))
    video = images(2, 3, 3, 24, 24)
    frames = torch.stack([network(video[:, t : t + 1]) for t in range(3)])
    assert network(video).shape == (2, network.dim)
    torch.testing.assert_close(network(video), frames.mean(0))
    large = F.interpolate(video[:, 0], (160, 160), mode="bilinear", align_corners=False)
    torch.testing.assert_close(network(large.unsqueeze(1)), frames[0])


def test_random_features_are_always_the_same() -> None:
    """Whatever the global seed, weights are equal, and the global generator is left as it was."""
    torch.manual_seed(1)
    first = TimmFeatures(backbone="test_convnext")
    drawn = torch.rand(1)
    torch.manual_seed(2)
    second = TimmFeatures(backbone="test_convnext")
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(1), drawn)


def test_feature_networks_stay_in_evaluation_mode() -> None:
    """Training mode does not reach them, so their batch norm statistics cannot drift; nothing is trainable."""
    network = TimmFeatures(backbone="test_resnet")
    before = {name: value.clone() for name, value in network.state_dict().items()}
    torch.nn.Sequential(network).train()
    network(images(2, 2, 3, 16, 16))
    assert not network.training
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert not any(parameter.requires_grad for parameter in network.parameters())


@pytest.mark.parametrize("shape", [(2, 3, 16, 16), (2, 4, 1, 16, 16), (2, 0, 3, 16, 16)])
def test_features_refuse_other_shapes(shape: tuple[int, ...]) -> None:
    """Images, grey videos and videos without frames are errors that name the argument."""
    with pytest.raises(InputError, match=r"^videos: "):
        TimmFeatures(backbone="test_convnext")(torch.zeros(shape))
