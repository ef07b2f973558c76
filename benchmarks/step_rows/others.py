"""Our step and our ConvGRU against other projects' code, which lies where the command says."""

from __future__ import annotations

import importlib.util
import sys
import types
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from components.clip import Clip
from components.layers import ConvGRU
from framework.experiment import Experiment, Training
from framework.graph import Stage, StageGraph
from registry import use

from clip_store_rows.measuring import MissingError, check
from plain_modules.layers import ConvGRU as PlainConvGRU
from plain_modules.weights import take_over
from step_rows.building import build
from step_rows.line import Bar, Line, Settings, clear, in_turns, of_ratio
from step_rows.options import fastest

CLASSES = 4
FRAMES = 25
"""Of stage 1."""
FOLDERS = (("--dgmr", "dgmr", "dgmr/layers/ConvGRU.py"), ("--dvd-gan", "dvd_gan", "Module/Generator.py"))
"""Of others' code: option, name, and a file that has to be inside."""
K_SAMPLE = 8
"""Frames that the spatial discriminators look at."""


def public(settings: Settings) -> Iterator[Line]:
    """Stage 1 at 64x64, the size that the public DVD-GAN is made for, with as many updates of the discriminators."""
    sizes = [(32, 24, 8)] if settings.cuda else [(4, 8, 2)] if settings.quick else [(8, 12, 4)]
    for channels, frames, batch in sizes:
        theirs = _public_step(settings, channels, frames, batch)
        experiment = _stage_1(channels, frames)
        training = fastest(experiment.training, settings, batch)
        ours = build(experiment, "base", training, batch, settings.device)
        for _ in range(2):
            ours()
        work = f"64x64/{frames}, {channels} channels, batch {batch}: our step against the public DVD-GAN's"
        yield of_ratio(work, in_turns(settings, ours, theirs, settings.runs // 2 + 1), Bar(5.0))
        clear(settings.device)


def dgmr(settings: Settings) -> Iterator[Line]:
    """Stage 1's ConvGRUs over all frames, forwards and backwards in training mode, against a cell for each frame."""
    path = _given(settings.dgmr, *FOLDERS[0])
    module = _module("dgmr_conv_gru", path)
    batch, divide = (16, 2) if settings.cuda else (4, 8)
    layers, worst = [], 0.0
    for before, after, size in ((1024, 1024, 4), (1024, 1024, 8), (1024, 512, 16), (512, 256, 32)):
        wide, narrow = before // divide, after // divide
        ours = ConvGRU(wide, narrow).to(settings.device)
        theirs = module.ConvGRU(wide + narrow, narrow).to(settings.device)
        _same_weights(theirs.cell, ours)
        x = torch.randn(batch, FRAMES, wide, size, size, device=settings.device)
        h = x.new_zeros(batch, narrow, size, size)
        equal = _difference(ours, theirs, x, h)
        check(equal < 1e-4, f"ConvGRUs' states are {equal:.1e} apart")
        worst = max(worst, equal)
        one, other = _both_ways(ours, (x,)), _both_ways(theirs, (x.transpose(0, 1), h))
        layers.append((one, other))
        work = f"ConvGRU {wide} to {narrow}, {size}x{size}/{FRAMES}, batch {batch}: ours against DGMR's"
        yield of_ratio(work, in_turns(settings, one, other), equal=f"{equal:.0e}")

    def all_of(way: int) -> Callable[[], None]:
        def run() -> None:
            for layer in layers:
                layer[way]()

        return run

    work = f"the ConvGRUs of stage 1, channels / {divide}, batch {batch}: ours against DGMR's"
    yield of_ratio(work, in_turns(settings, all_of(0), all_of(1)), Bar(1.3), f"{worst:.0e}")


def _both_ways(network: nn.Module, inputs: tuple[Tensor, ...]) -> Callable[[], None]:
    first = inputs[0].detach().requires_grad_()

    def run() -> None:
        network(first, *inputs[1:]).sum().backward()

    return run


@torch.no_grad()
def _difference(ours: nn.Module, theirs: nn.Module, x: Tensor, h: Tensor) -> float:
    ours.eval()
    theirs.eval()
    own, other = ours(x), theirs(x.transpose(0, 1), h).transpose(0, 1)
    ours.train()
    theirs.train()
    return float((own - other).abs().max())


def _same_weights(cell: nn.Module, ours: ConvGRU) -> None:
    """Ours into their cell."""
    plain = take_over(PlainConvGRU(ours.in_channels, ours.hidden_channels), ours).state_dict()
    names = {"read_gate_conv": "reset", "update_gate_conv": "update", "output_conv": "candidate"}
    cell.load_state_dict(
        {key: plain[f"{names[key.partition('.')[0]]}.{key.partition('.')[2]}"] for key in cell.state_dict()}
    )


def _stage_1(channels: int, frames: int) -> Experiment:
    clip, widths = Clip(frames, 64, 64), {"channels": channels, "multipliers": [2, 4, 8, 16, 16]}
    base = Stage(
        "base",
        clip=clip,
        generator=use("DVDGenerator", channels=channels, multipliers=[8, 8, 4, 2], noise_dim=120, embedding_dim=120),
        discriminators={
            "spatial": use("SpatialDiscriminator", **widths, frames=K_SAMPLE),
            "temporal": use("TemporalDiscriminator", **widths, temporal_pooling=True),
        },
        loss=use("GeometricHinge"),
    )
    graph = StageGraph(clip=clip, stages=[base], classes=CLASSES)
    return Experiment(name="stage_1", data=use("SyntheticClips", size=64), graph=graph, training=Training(batch_size=4))


def _public_step(settings: Settings, channels: int, frames: int, batch: int) -> Callable[[], None]:
    """What its trainer does in an iteration, less logging, with two updates of the discriminators as ours has."""
    root = _given(settings.dvd_gan, *FOLDERS[1]).parents[1]
    device = settings.device
    with _importing(root):
        generators = importlib.import_module("Module.Generator")
        discriminators = importlib.import_module("Module.Discriminators")
    G = generators.Generator(120, n_class=CLASSES, ch=channels, n_frames=frames).to(device)  # noqa: N806
    D_s = discriminators.SpatialDiscriminator(chn=channels, n_class=CLASSES).to(device)  # noqa: N806
    D_t = discriminators.TemporalDiscriminator(chn=channels, n_class=CLASSES).to(device)  # noqa: N806
    adams = [
        torch.optim.Adam([p for p in network.parameters() if p.requires_grad], 5e-5, (0.0, 0.9))
        for network in (G, D_s, D_t)
    ]
    real = torch.rand(batch, frames, 3, 64, 64, device=device) * 2 - 1
    labels = torch.arange(batch, device=device) % CLASSES

    def sampled(video: Tensor) -> Tensor:
        return video[:, torch.randperm(frames)[:K_SAMPLE].sort().values]

    def smaller(video: Tensor) -> Tensor:
        return (
            nn.functional.avg_pool2d(video.flatten(0, 1), 2).unflatten(0, video.shape[:2]).transpose(1, 2).contiguous()
        )

    def apply(loss: Tensor, adam: torch.optim.Optimizer) -> None:
        for each in adams:
            each.zero_grad()
        loss.backward()
        adam.step()

    def step() -> None:
        for _ in range(2):
            fake = G(torch.randn(batch, 120, device=device), labels)
            few, small = sampled(fake), smaller(fake)
            for network, adam, own, other in (
                (D_s, adams[1], sampled(real), few.detach()),
                (D_t, adams[2], smaller(real), small.detach()),
            ):
                loss = torch.relu(1 - network(own, labels)).mean() + torch.relu(1 + network(other, labels)).mean()
                apply(loss, adam)
        apply(torch.relu(1 - D_s(few, labels)).mean() + torch.relu(1 - D_t(small, labels)).mean(), adams[0])

    return step


class _importing:  # noqa: N801  # a context, as contextlib's
    """Imports are looked for in ``root`` first, and a module that only logs need not be there."""

    def __init__(self, root: Path) -> None:
        self._root = str(root)

    def __enter__(self) -> None:
        warnings.simplefilter("ignore", SyntaxWarning)  # `is 1`
        self._logger = "tensorboardX" not in sys.modules
        if self._logger:
            stub: Any = types.ModuleType("tensorboardX")
            stub.SummaryWriter = object
            sys.modules["tensorboardX"] = stub
        sys.path.insert(0, self._root)

    def __exit__(self, *error: object) -> None:
        sys.path.remove(self._root)
        if self._logger:
            del sys.modules["tensorboardX"]


def _given(folder: Path | None, option: str, _: str, inside: str) -> Path:
    if folder is None:
        raise MissingError(f"{option} FOLDER was not given")
    return folder.resolve() / inside


def _module(name: str, path: Path) -> Any:
    """The module in one file, without the package around it, which would import many others."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None  # noqa: S101  # the file is there
    assert spec.loader is not None  # noqa: S101
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
