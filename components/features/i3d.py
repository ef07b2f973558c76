"""I3D features, those of the Fréchet video distance (Unterthiner et al., 2018)."""

from __future__ import annotations

import io
import pickle
import warnings
import zipfile
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from components.features.base import VALUE_RANGE, FeatureNetwork, Features
from components.features.inception_i3d import FEATURES as POOLED
from components.features.inception_i3d import MIN_FRAMES, SIZE, InceptionI3d
from components.features.resizing import resized
from components.features.weights_file import fetch
from registry import FEATURES, InputError
from registry.errors import one_line

CLASSES = (400, 600)
"""Of Kinetics: the networks that there are weights of."""
TORCHSCRIPT = "bec6519f66ea534e953026b4ae2c65553c17bf105611c746d904657e5860a5e2"
"""SHA-256 of the usual ``i3d_torchscript.pt`` (StyleGAN-V's), as those who use it state it."""
SCRIPT_MIN_FRAMES = 10
"""Of a TorchScript file: its padding does not depend on the length, and leaves 9 frames one short at the end."""
_ARGUMENTS = {"rescale": False, "resize": False, "return_features": True}
_ALLOWED = "the state dict of an InceptionI3d, or i3d_torchscript.pt"


@FEATURES.register
class I3D(FeatureNetwork):
    """The Inflated 3D Inception network, trained on Kinetics; 400 or 600 classes, as its weights have.

    Frames are resized to 224x224 bilinearly without antialiasing, as the published implementations of FVD do.
    There are two kinds of files of weights:

    * the state dict of an ``InceptionI3d`` (``rgb_imagenet.pt``, ``i3d_pretrained_400.pt``). Only tensors are read of
      it, no code of it runs. Pooled features are the 1024 average-pooled last activations; logits come with them.
    * ``i3d_torchscript.pt``. A TorchScript file runs code of its own, so it is loaded only where its digest is given
      or is that of the usual file. It gives the 400 logits alone, which are its pooled features as well, as those who
      measure FVD with it have it.

    Args:
        weights: a path, or an http or https URL, which needs a ``digest``.
        digest: SHA-256 of the file, in hexadecimal.

    Raises:
        InputError: on ``weights`` or ``digest``, when the file cannot be had, has another digest or holds anything
            else.
    """

    def __init__(self, *, weights: str, digest: str | None = None) -> None:
        super().__init__()
        content, self._digest = fetch(weights, digest)
        self._script = _is_script(content)
        if self._script:
            if digest is None and self._digest != TORCHSCRIPT:
                what = f"{weights} is a TorchScript file, which runs code of its own, and not the usual one"
                raise InputError.of("digest", what, f"{self._digest}, if you trust it")
            self.network, self._classes = _load_script(content, weights)
        else:
            self.network, self._classes = _load_state_dict(content, weights)
        self.requires_grad_(False)  # the argument has no name in torch
        self.eval()

    @property
    def dim(self) -> int:
        """1024; of a TorchScript file the number of classes."""
        return self._classes if self._script else POOLED

    @property
    def logits_dim(self) -> int:
        """Number of classes, 400 or 600."""
        return self._classes

    @property
    def min_frames(self) -> int:
        """9, which the network's strides leave two of; 10 with a TorchScript file."""
        return SCRIPT_MIN_FRAMES if self._script else MIN_FRAMES

    def identity(self) -> dict[str, Any]:
        """Its name, the file's digest and kind, and what is done to frames."""
        pooled = "the logits, averaged over time" if self._script else "average-pooled last activations"
        return {
            "network": type(self).__name__,
            "weights": self._digest,
            "file": "TorchScript" if self._script else "state dict",
            "classes": self._classes,
            "random": False,
            "resize": f"each frame to {SIZE}x{SIZE}, bilinear (align_corners=False), not antialiased",
            "value_range": VALUE_RANGE,
            "pooled": pooled,
        }

    def forward(self, videos: Tensor) -> Features:
        """Features of videos ``(B, T, 3, H, W)``, values in [-1, 1].

        Raises:
            InputError: on ``videos``, when they have another shape or too few frames.
        """
        self.check(videos)
        x = resized(videos, SIZE, SIZE, antialias=False).transpose(1, 2)
        if self._script:
            logits: Tensor = self.network(x, **_ARGUMENTS)
            return Features(logits, logits)
        return Features(*self.network(x))


def _is_script(content: bytes) -> bool:
    try:
        names = zipfile.ZipFile(io.BytesIO(content)).namelist()
    except zipfile.BadZipFile:
        return False
    return any(name.partition("/")[2].startswith(("code/", "constants.pkl")) for name in names)


def _load_script(content: bytes, weights: str) -> tuple[nn.Module, int]:
    """The network of a TorchScript file that is trusted, and how many classes it scores."""
    try:
        network: Any = torch.jit.load(io.BytesIO(content), map_location="cpu")  # type: ignore[no-untyped-call]
        network.eval()
        with torch.no_grad():
            logits = network(torch.zeros(1, 3, SCRIPT_MIN_FRAMES, SIZE, SIZE), **_ARGUMENTS)
    except (RuntimeError, TypeError) as error:  # whatever a file that is none, or takes other arguments, meets
        what = f"{weights} is another TorchScript file: it cannot be called with return_features ({one_line(error)})"
        raise InputError.of("weights", what, _ALLOWED) from error
    if not isinstance(logits, Tensor) or logits.shape not in [(1, classes) for classes in CLASSES]:
        shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        what = f"{weights} is another TorchScript file: for one video it gives {shape}"
        raise InputError.of("weights", what, _ALLOWED)
    return network, logits.shape[1]


def _load_state_dict(content: bytes, weights: str) -> tuple[InceptionI3d, int]:
    """The network of a state dict, and how many classes it scores; no code of the file runs."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickles that torch would not have written: what is said below says it
            state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        what = f"{weights} holds pickled objects other than tensors, or is no file of PyTorch's; nothing of it was run"
        raise InputError.of("weights", what, _ALLOWED) from error
    except (RuntimeError, EOFError, ValueError, KeyError) as error:
        raise InputError.of("weights", f"{weights} is no file of PyTorch's, or a damaged one", _ALLOWED) from error
    if not isinstance(state, Mapping) or not all(isinstance(tensor, Tensor) for tensor in state.values()):
        raise InputError.of("weights", f"{weights} holds a {type(state).__name__}, no state dict", _ALLOWED)
    given = dict(state)
    bias = given.get("logits.conv3d.bias")
    classes = len(bias) if bias is not None and bias.ndim == 1 else CLASSES[0]
    if classes not in CLASSES:
        what = f"{weights} scores {classes} classes, so it was trained on something else"
        raise InputError.of("weights", what, " or ".join(map(str, CLASSES)) + " classes of Kinetics")
    with torch.device("meta"):
        network = InceptionI3d(classes)
    wanted = network.state_dict()
    for name in wanted:  # older files lack these counts, which nothing here reads
        if name.endswith("num_batches_tracked"):
            given.setdefault(name, torch.tensor(0))
    if problem := _difference(wanted, given):
        raise InputError.of("weights", f"{weights} is no InceptionI3d: {problem}", _ALLOWED)
    network.load_state_dict(given, assign=True)
    return network.float(), classes


def _difference(wanted: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> str | None:
    """The first thing in which ``given`` is not what is ``wanted``, as a clause."""
    if missing := [name for name in wanted if name not in given]:
        return f"it lacks {len(missing)} of {len(wanted)} tensors ({missing[0]})"
    if strange := [name for name in given if name not in wanted]:
        return f"it has {len(strange)} tensors more ({strange[0]})"
    for name, tensor in wanted.items():
        if tensor.shape != given[name].shape:
            return f"{name} has shape {tuple(given[name].shape)}, not {tuple(tensor.shape)}"
        if tensor.is_floating_point() != given[name].is_floating_point():
            return f"{name} is of type {given[name].dtype}"
    return None
