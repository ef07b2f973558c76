"""A stage's step without a run folder is the step that training makes."""

import pytest
import torch
from tiny_runs import run_of, two_stages

from framework.build import build_data_route, build_stage_view
from framework.cost.step import build_sources, build_step, loader_batch
from framework.stage_data import StageClips, StageData
from framework.train_stage import build_model
from registry import DATASETS


@pytest.mark.parametrize("classes", [4, None])
@pytest.mark.parametrize("name", ["base", "full"])
def test_batch_is_shaped_as_the_loaders(name, classes):
    """Random pixels have the shape and type of what the stage's loader reads, and classes that there are."""
    experiment = two_stages(classes=classes)
    graph = experiment.graph
    stage = graph[name]
    data = StageData(graph, stage, build_data_route(graph, stage), build_stage_view(stage))
    clips = StageClips(DATASETS.build(experiment.data, "data"), graph, data, 0)

    batch = loader_batch(experiment, stage, data, 3)

    assert tuple(batch["frames"].shape) == (3, *clips[0]["frames"].shape)
    assert batch["frames"].dtype == clips[0]["frames"].dtype
    assert batch["label"].shape == (3,)
    assert batch["label"].min() >= 0
    assert batch["label"].max() < (classes or 1)


def test_networks_are_those_of_training(tmp_path):
    """The base stage's weights are, bit for bit, those that a run begins with, so nothing is built another way."""
    experiment = two_stages()
    stage = experiment.graph["base"]
    trained, _ = build_model(run_of(experiment, tmp_path), experiment, stage, DATASETS.build(experiment.data, "data"))

    step = build_step(experiment, "base", experiment.training_of(stage), 4)

    assert step.model.state_dict().keys() == trained.state_dict().keys()
    for name, tensor in trained.state_dict().items():
        assert torch.equal(step.model.state_dict()[name], tensor), name


@pytest.mark.parametrize("name", ["base", "full"])
def test_a_call_is_an_iteration(name):
    """A call updates both networks and leaves the frozen sources as they were."""
    experiment = two_stages()
    step = build_step(experiment, name, experiment.training_of(experiment.graph[name]), 4)
    before = {key: value.clone() for key, value in step.model.state_dict().items()}
    sources = step.model.sources
    frozen = {} if sources is None else {k: v.clone() for k, v in sources.links[0].generator.state_dict().items()}

    log = step()

    assert {"loss_D", "loss_G", "grad_norm_D", "grad_norm_G"} <= log.keys()
    for network in ("generator", "discriminators"):
        assert any(
            not torch.equal(before[key], value)
            for key, value in step.model.state_dict().items()
            if key.startswith(network) and key.endswith("original")
        )
    for key, value in frozen.items():
        assert torch.equal(value, sources.links[0].generator.state_dict()[key]), key


def test_sources_have_statistics_of_their_clip():
    """Every norm of an untrained source has a row for each timestep of its clip, so that any window can be asked of."""
    experiment = two_stages()
    sources = build_sources(experiment, "base")

    rows = {v.shape[0] for k, v in sources.links[0].generator.state_dict().items() if k.endswith("running_mean")}

    assert rows == {experiment.graph["base"].clip.frames}
