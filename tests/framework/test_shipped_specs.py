"""Every spec that ships trains and generates, shrunk by nothing but settings of the command line."""

import runpy
from pathlib import Path

import pytest
import torch
import zarr

from components.features import InDomainFeatures
from framework.generate import generate
from framework.request import Request
from framework.spec_file import load_any_spec, load_spec
from framework.train import train
from framework.train_classifier import train_classifier

FOLDER = Path(__file__).parents[2] / "experiments"
CLASSIFIERS = [FOLDER / "quickstart_classifier.py"]
SPECS = sorted(set(FOLDER.glob("*.py")) - set(CLASSIFIERS))
SIDE, UNITS = 16, 3


def shrinking(experiment) -> list[str]:
    """Settings that make the last stage 16x16 and its source's clips as much smaller as they were; two iterations."""
    graph = experiment.graph
    [last] = graph.leaves()
    base = graph.order()[0].clip
    times = {stage.name: stage.clip.frames // base.frames for stage in graph.stages}
    settings = [f"data=SyntheticClips(clips=8, frames={3 * times[last.name] + 2}, size={SIDE})"]
    places = [("graph.clip", graph.clip, 3 * times[last.name], 1)]
    for stage in graph.stages:
        where = f"stages.{stage.name}"
        settings.append(f"{where}.training={{}}")
        stride = times[last.name] // times[stage.name]
        places.append((f"{where}.clip", stage.clip, 3 * times[stage.name], stride))
        if stage.window:
            settings.append(f"{where}.window={2 * times[stage.name] // times[stage.source]}")
        parts = {"generator": stage.generator, **{f"discriminators.{n}": c for n, c in stage.discriminators.items()}}
        for part, component in parts.items():
            first = list(component.options["multipliers"][:UNITS])
            settings += [f"{where}.{part}.channels=1", f"{where}.{part}.multipliers={first}"]
        settings += [f"{where}.generator.noise_dim=4", f"{where}.generator.embedding_dim=3"]
    for where, clip, frames, stride in places:
        side = clip.height * SIDE // last.clip.height
        for field, value in (("frames", frames), ("height", side), ("width", side), ("stride", stride)):
            settings.append(f"{where}.{field}={value}")
    if graph.classes:
        settings.append("graph.classes=4")
    training = {"batch_size": 2, "iterations": 2, "standing_passes": 2, "standing_batch": 2, "workers": 0}
    training |= {"log_every": 1, "checkpoint_every": 2, "sample_every": 2, "samples": 2}
    return settings + [f"training.{name}={value}" for name, value in training.items()]


def test_specs_are_found():
    """The experiments of the paper are among them."""
    assert {"bdd_3stage", "kinetics_2stage", "dvd_gan_48", "quickstart"} <= {path.stem for path in SPECS}


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_a_shrunk_spec_trains_and_generates(path, tmp_path, monkeypatch):
    """Two iterations of every stage, and a video of every stage in the size of its clip."""
    monkeypatch.syspath_prepend(path.parent)
    settings = shrinking(runpy.run_path(str(path))["experiment"])
    experiment, notes = load_spec(path, settings)
    assert notes == []
    assert experiment.name == path.stem
    run = train(experiment, tmp_path / "run")
    folder, _ = generate(run.path, Request(count=2, formats=("zarr",)), tmp_path / "out")
    group = zarr.open_group(folder, mode="r")
    assert {name: array.shape for name, array in group.arrays()} == {
        stage.name: (2, stage.clip.frames, stage.clip.height, stage.clip.width, 3) for stage in experiment.graph.stages
    }


@pytest.mark.parametrize("path", CLASSIFIERS, ids=lambda path: path.stem)
def test_a_shrunk_classifier_trains(path, tmp_path):
    """Two iterations on drawn clips; the features are there for metrics."""
    settings = ["data=SyntheticClips(clips=24, frames=5, size=8)", "clip.frames=4", "clip.height=8", "clip.width=8"]
    settings += ["network.channels=2", "network.multipliers=[1]", "training.batch_size=2", "training.iterations=2"]
    experiment, notes = load_any_spec(path, settings)
    assert notes == []
    assert experiment.name == path.stem
    run = train_classifier(experiment, tmp_path / "run")
    assert InDomainFeatures(path=run.path)(torch.zeros(1, 4, 3, 8, 8)).logits.shape == (1, 4)
