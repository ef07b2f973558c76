"""Metrics while a stage trains: measured when it is time, without touching the training, and the best kept."""

import json

import attrs
import pytest
from stage_makers import make_stage
from tiny_runs import QUICK, run_of, two_stages

from framework import Experiment, stage_evaluation, use
from framework.check import check
from framework.check_data import open_data
from framework.checkpoint import load_checkpoint
from registry import InputError

MEASURED = {
    "evaluate": (use("Motion"), use("PSD", frames=[1])),
    "evaluate_videos": 8,
    "evaluate_every": 2,
}


def with_training(**changes) -> Experiment:
    experiment = two_stages()
    return attrs.evolve(experiment, training=attrs.evolve(experiment.training, **changes))


def lines(run, stage):
    return [json.loads(line) for line in run.metrics(stage).read_text().splitlines()]


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """A run that measures at every second iteration, and keeps the best."""
    experiment = with_training(**MEASURED, keep_best="min:motion", keep_checkpoints=1)
    return run_of(experiment, tmp_path_factory.mktemp("measured") / "run")


def test_figures_come_with_their_lines(measured):
    """Lines of the iterations that are measured have the figures, the others do not."""
    for stage in ("base", "full"):
        having = {line["iteration"]: "psd/1" in line and "motion" in line for line in lines(measured, stage)}
        assert having == {1: False, 2: True, 3: False, 4: True}
    assert QUICK.iterations == 4


def test_the_best_is_kept(measured):
    """The checkpoint of the smallest value stays beside the latest."""
    for stage in ("base", "full"):
        by_distance = sorted((line["motion"], line["iteration"]) for line in lines(measured, stage) if "motion" in line)
        kept = {load_checkpoint(path)["iteration"] for path in measured.checkpoints(stage).glob("iter_*.pt")}
        assert kept == {4, by_distance[0][1]}


def test_training_is_untouched(measured, trained):
    """A run that measures ends in the very weights of one that does not."""
    for stage in ("base", "full"):
        one, other = (run.artifact(stage) / "generator.safetensors" for run in (measured, trained))
        assert one.read_bytes() == other.read_bytes()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"keep_best": "min:moton"}, "training.keep_best: no metric of base is called 'moton'; allowed: grad_norm_D"),
        ({"keep_best": "min:moton"}, "did you mean 'motion'?"),
        ({"evaluate_every": 3}, "training.evaluate_every: 3 is no multiple of checkpoint_every=2"),
        ({"evaluate": (use("FDI"),)}, "training.evaluate[0]: no metric is called 'FDI'"),
        ({"evaluate": (use("PSD", frame=[1]),)}, "training.evaluate[0].frame: 'frame' is not an option of PSD"),
        ({"evaluate": (use("FID"),)}, "training.evaluate_features: is missing: FID compares features"),
        ({"evaluate_features": use("RandomFeature")}, "training.evaluate_features: no feature network is called"),
        ({"keep_best": "min:psd/2", "evaluate": (use("PSD", frames=[2, 9]),)}, None),
        ({"keep_best": "min:psd/9", "evaluate": (use("PSD", frames=[2, 9]),)}, "no metric of base is called 'psd/9'"),
        ({"evaluate": (use("PSD", frames=[9]),)}, "stages.full.training.evaluate[0]: PSD needs 9 frames, the videos"),
        ({"evaluate": (use("Grounding"),)}, "stages.base.training.evaluate[0]: Grounding compares videos with what"),
        ({"evaluate": (use("Seams"),)}, "stages.base.training.evaluate[0]: Seams needs 5 frames, the videos have 4"),
    ],
)
def test_the_check(changes, says):
    """What cannot be measured is found with the spec's other mistakes, not when the stage begins."""
    if says is None:
        check(with_training(**{**MEASURED, **changes}))
        return
    with pytest.raises(InputError) as caught:
        check(with_training(**{**MEASURED, **changes}))
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"evaluate": (use("Grounding"),)}, "stages.base.training.evaluate[0]: Grounding compares videos with what"),
        ({"evaluate": (use("FID"),), "evaluate_features": use("RandomFeatures")}, "needs 5 frames, the videos have 4"),
    ],
)
def test_what_the_data_shows(changes, says, tmp_path):
    """What only data and stage tell is refused when the stage begins."""
    with pytest.raises(InputError) as caught:
        run_of(with_training(**{**MEASURED, **changes}), tmp_path / "run")
    assert says in str(caught.value)


def test_batches_are_even(monkeypatch):
    """Of five videos, at most four at a time, none is normalised by its own statistics alone."""
    monkeypatch.setattr(stage_evaluation, "BATCH", 4)
    sizes = []
    videos = stage_evaluation.current_videos

    def noted(stage, model, training, noise, labels):
        sizes.append((len(noise[0]), len(labels)))
        return videos(stage, model, training, noise, labels)

    monkeypatch.setattr(stage_evaluation, "current_videos", noted)
    experiment = with_training(evaluate=(use("Motion"),), evaluate_videos=5)
    stage, dataset = experiment.graph["base"], open_data(experiment)
    model = make_stage(experiment.graph, "base")
    assert set(stage_evaluation.StageEvaluation(experiment, stage, model, dataset).measure()) == {"motion"}
    assert sizes == [(3, 3), (2, 2)]


def test_one_process_measures_for_all(monkeypatch):
    """Memory that is too little for the sums of eight ranks, and enough for rank 0's, which alone measures, will do."""
    features = use("RandomFeatures", dim=7)  # 2 sides of 10 groups of 7 x 7 float64: 7840 bytes
    experiment = with_training(evaluate=(use("FID"),), evaluate_features=features, evaluate_videos=8)
    stage, dataset = experiment.graph["full"], open_data(experiment)
    model = make_stage(experiment.graph, "full")
    monkeypatch.setattr("torch.distributed.is_initialized", lambda: True)
    monkeypatch.setattr("torch.distributed.get_world_size", lambda: 8)
    monkeypatch.setattr("framework.measures.machine_memory", lambda: 8_000)
    stage_evaluation.StageEvaluation(experiment, stage, model, dataset)
    monkeypatch.setattr("framework.measures.machine_memory", lambda: 7_000)
    with pytest.raises(InputError, match=r"training\.evaluate: sums of outer products"):
        stage_evaluation.StageEvaluation(experiment, stage, model, dataset)
