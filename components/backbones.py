"""Image networks of the timm library, for the discriminators and feature networks built on one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from kornia.geometry.transform import resize
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from components.hub import why_not
from components.layers import synchronize_batch_norms
from components.torchvision_cpu import ensure_torchvision_imports
from registry import InputError
from registry.errors import Problem, nearest

MINIMUM_SIZE = 32
"""Pixels: backbones of any input size halve their input five times; smaller images are enlarged to this."""


class ImageBackbone(nn.Module):
    """A timm network without its classifier: images to one feature vector each.

    Images are normalised by the mean and standard deviation that the backbone's weights were trained with
    (their averages where there are not three channels), and resized bilinearly where their size does not
    fit: to the backbone's own size with ``own_size`` or when it takes no other, otherwise so that no side
    is below 32 pixels. Batch norms normalise with the batch of all ranks. Dropout and stochastic depth, which a few
    backbones have, are off: what they drew would depend on how many ranks share the batch.

    Args:
        name: a model name of ``timm.list_models()``.
        channels: channels of the images.
        pretrained: load timm's weights for it, from its cache or the network; otherwise random.
        own_size: resize every image to the size that the backbone was trained with.

    Raises:
        InputError: on ``backbone`` or ``pretrained``, the options of whoever is built on this.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, name: str, channels: int, *, pretrained: bool = False, own_size: bool = False) -> None:
        super().__init__()
        self.network = _create(name, channels, pretrained)
        synchronize_batch_norms(self.network)
        _without_dropout(self.network)
        config: dict[str, Any] = self.network.pretrained_cfg
        self.size: tuple[int, int] | None = None
        """What every image is resized to, (height, width)."""
        if own_size or config.get("fixed_input_size", False):
            self.size = (config["input_size"][1], config["input_size"][2])
        for statistic in ("mean", "std"):
            values = torch.tensor(config[statistic])
            values = values if len(values) == channels else values.mean().expand(channels)
            self.register_buffer(statistic, values.reshape(-1, 1, 1).clone(), persistent=False)
        self.features = self._count_features(name, channels)
        """Length of a feature vector."""

    def forward(self, images: Tensor) -> Tensor:
        """Features ``(N, features)`` of images ``(N, C, H, W)``, values in [-1, 1]."""
        height, width = self.size or _at_least(MINIMUM_SIZE, *images.shape[-2:])
        if (height, width) != tuple(images.shape[-2:]):
            images = resize(images, (height, width), interpolation="bilinear", antialias=True)
        normalised = ((images + 1) / 2 - self.mean) / self.std
        features: Tensor = self.network(normalised)
        return features

    def stages(self) -> list[nn.Module]:
        """The members of the network's rows of modules: a convolutional network's stages, a transformer's blocks.

        Single layers, such as a stem's, are none: an activation may change the one before it in place.
        """
        rows = (nn.Sequential, nn.ModuleList)
        return [
            part for row in self.network.children() if isinstance(row, rows) for part in row if any(part.children())
        ]

    @torch.no_grad()
    def _count_features(self, name: str, channels: int) -> int:
        size = self.size or (MINIMUM_SIZE, MINIMUM_SIZE)
        training = self.training
        try:
            features = self.eval()(self.mean.new_zeros(1, channels, *size))
        except (RuntimeError, AssertionError) as error:
            what = f"{name!r} cannot be applied to images of {size[0]}x{size[1]}: {error}"
            raise InputError.of("backbone", what) from error
        finally:
            self.train(training)
        if not isinstance(features, Tensor) or features.ndim != 2:
            raise InputError.of("backbone", f"{name!r} does not give one feature vector per image")
        return features.shape[1]


def _create(name: str, channels: int, pretrained: bool) -> Any:
    ensure_torchvision_imports()
    import timm  # takes seconds, and only these components need it

    if not timm.is_model(name):
        what = f"timm has no model called {name!r}"
        raise InputError(Problem("backbone", what, "one of timm.list_models()", nearest(name, timm.list_models())))
    try:
        if pretrained and (reason := why_not(timm.get_pretrained_cfg(name))):
            raise OSError(reason)
        return timm.create_model(name, pretrained=pretrained, in_chans=channels, num_classes=0)
    except (OSError, RuntimeError, ValueError) as error:
        if not pretrained:
            raise InputError.of("backbone", f"timm cannot build {name!r} for {channels} channels: {error}") from error
        what = f"the weights of {name!r} cannot be loaded: {error}"
        raise InputError.of("pretrained", what, allowed="false without a network") from error


def _without_dropout(network: nn.Module) -> None:
    parts: Iterable[Any] = network.modules()
    for part in parts:
        if isinstance(part, _DropoutNd):
            part.p = 0.0
        elif hasattr(part, "drop_prob"):  # timm's stochastic depth, of which there are several classes
            part.drop_prob = 0.0


def _at_least(minimum: int, height: int, width: int) -> tuple[int, int]:
    """The size in the same shape with no side below ``minimum``."""
    factor = max(1.0, minimum / min(height, width))
    return round(height * factor), round(width * factor)
