"""Per-frame image features: what they are made of, that they do not drift, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import huggingface_hub
import pytest
import torch
import torch.nn.functional as F

from components.features import TimmFeatures
from registry import InputError


def random_videos(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 2 - 1


@torch.no_grad()
def test_features_are_averaged_over_frames(monkeypatch) -> None:
    """A video's features are the mean of those of its frames, each seen at the backbone's own size."""
    network = TimmFeatures(backbone="test_convnext")
    assert (network.min_frames, network.backbone.size) == (1, (160, 160))
    video = random_videos(2, 3, 3, 24, 24)
    frames = torch.stack([network(video[:, t : t + 1]).pooled for t in range(3)])
    features = network(video)
    assert (features.pooled.shape, features.logits) == ((2, network.dim), None)
    torch.testing.assert_close(features.pooled, frames.mean(0))
    monkeypatch.setattr("components.features.timm_features.FRAMES", 4)  # however few frames are looked at at once
    torch.testing.assert_close(network(video).pooled, frames.mean(0))
    large = F.interpolate(video[:, 0], (160, 160), mode="bilinear", align_corners=False)
    torch.testing.assert_close(network(large.unsqueeze(1)).pooled, frames[0])


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


def test_the_identity_tells_weights_apart() -> None:
    """It is JSON, says that the weights are random, and changes with a single one of them."""
    network, other = TimmFeatures(backbone="test_convnext"), TimmFeatures(backbone="test_convnext")
    identity = network.identity()
    assert identity == json.loads(json.dumps(identity)) == other.identity()
    assert (identity["random"], identity["resize"][:21]) == (True, "each frame to 160x160")
    changed = TimmFeatures(backbone="test_convnext")
    next(changed.parameters()).view(-1)[0] += 1
    assert changed.identity()["weights"] != identity["weights"]


def test_feature_networks_stay_in_evaluation_mode() -> None:
    """Training mode does not reach them, so their batch norm statistics cannot drift; nothing is trainable."""
    network = TimmFeatures(backbone="test_resnet")
    before = {name: value.clone() for name, value in network.state_dict().items()}
    torch.nn.Sequential(network).train()
    network(random_videos(2, 2, 3, 16, 16))
    assert not network.training
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert not any(parameter.requires_grad for parameter in network.parameters())


@pytest.mark.parametrize("shape", [(2, 3, 16, 16), (2, 4, 1, 16, 16), (2, 0, 3, 16, 16)])
def test_features_refuse_other_shapes(shape: tuple[int, ...]) -> None:
    """Images, grey videos and videos without frames are errors that name the argument."""
    with pytest.raises(InputError, match=r"^videos: "):
        TimmFeatures(backbone="test_convnext")(torch.zeros(shape))


def test_missing_weights_are_a_clean_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With no network and an empty cache, `pretrained` is refused in one line that names the option."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(InputError, match=r"^pretrained: the weights of 'test_convnext' cannot be loaded") as error:
        TimmFeatures(backbone="test_convnext", pretrained=True)
    assert len(str(error.value).splitlines()) == 1


def test_a_tag_that_timm_does_not_know_is_a_clean_error() -> None:
    """As a model that it does not know."""
    with pytest.raises(InputError, match=r"^pretrained: .* Invalid pretrained tag"):
        TimmFeatures(backbone="test_convnext.none", pretrained=True)
