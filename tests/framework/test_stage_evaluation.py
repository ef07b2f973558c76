"""Metrics while a stage trains: measured when it is time, without touching the training, and the best kept."""

import json

import attrs
import pytest
from stage_makers import make_stage
from tiny_runs import QUICK, copy_of, run_of, two_stages

from framework import Clip, Experiment, stage_evaluation, use
from framework.check import check
from framework.check_data import open_data
from framework.checkpoint import load_checkpoint
from registry import FEATURES, InputError

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
    """What only data and stage tell is refused before anything is written."""
    with pytest.raises(InputError) as caught:
        run_of(with_training(**{**MEASURED, **changes}), tmp_path / "run")
    assert says in str(caught.value)
    assert not (tmp_path / "run").exists()


EVALUATE = "graph.stages.full.training.evaluate"


def of_features(network, **changes) -> dict:
    """A stage ``full`` that compares features of ``network``."""
    return {"training": {"evaluate": [use("FID")], "evaluate_features": network, "evaluate_every": 2, **changes}}


@pytest.mark.parametrize(
    ("network", "says"),
    [
        (use("InDomainFeatures", path="/nope/cls"), f"{EVALUATE}_features.path: /nope/cls: holds no classifier"),
        (use("RandomFeatures"), f"{EVALUATE}[0]: FID of features of 64 dimensions needs 65 videos, there are 8"),
    ],
)
def test_a_later_stage_is_looked_at_before_the_first_begins(network, says, tmp_path):
    """Hours of the stage before it are not lost to what was known: one line, and nothing is written."""
    with pytest.raises(InputError) as caught:
        run_of(two_stages(full=of_features(network)), tmp_path / "run")
    assert str(caught.value).startswith(says)
    assert not (tmp_path / "run").exists()
    run_of(
        two_stages(full=of_features(network), iterations=1), tmp_path / "base", only="base"
    )  # which asks for nothing


def test_an_earlier_run_is_left_where_it_is(trained, tmp_path):
    """``restart`` of what is refused puts nothing aside."""
    run = copy_of(trained, tmp_path / "run")
    with pytest.raises(InputError, match="needs 65 videos"):
        run_of(two_stages(full=of_features(use("RandomFeatures"))), run.path, restart=True)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert run.artifact("full").is_dir()


def test_a_done_stage_needs_no_network(trained, tmp_path):
    """A run that is done can be taken up where the classifier is gone."""
    run = copy_of(trained, tmp_path / "run")
    run_of(two_stages(full=of_features(use("InDomainFeatures", path="/nope/cls"))), run.path)


def test_stages_share_a_network(monkeypatch):
    """Two stages that name the same one have it built once."""
    built, build = [], FEATURES.build
    monkeypatch.setattr(FEATURES, "build", lambda *args, **given: (built.append(args[0]), build(*args, **given))[1])
    experiment = two_stages(full=of_features(use("RandomFeatures", dim=4)))
    fields = {**experiment.graph["full"].training, "evaluate": [use("FID")]}
    experiment = experiment.with_stage("base", clip=Clip(5, 4, 4, stride=2), training=fields)
    experiment = experiment.with_stage("full", clip=Clip(10, 8, 8))
    experiment = attrs.evolve(experiment, graph=attrs.evolve(experiment.graph, clip=Clip(10, 8, 8)))
    stages = experiment.graph.stages
    evaluations = stage_evaluation.make_evaluations(experiment, stages, open_data(experiment))
    assert [evaluation.names for evaluation in evaluations.values()] == [("fid",)] * 2
    assert built == [use("RandomFeatures", dim=4)]


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
    assert set(stage_evaluation.StageEvaluation(experiment, stage, dataset).measure(model)) == {"motion"}
    assert sizes == [(3, 3), (2, 2)]


def test_one_process_measures_for_all(monkeypatch):
    """Memory that is too little for the sums of eight ranks, and enough for rank 0's, which alone measures, will do."""
    features = use("RandomFeatures", dim=7)  # 2 sides of 10 groups of 7 x 7 float64: 7840 bytes
    experiment = with_training(evaluate=(use("FID"),), evaluate_features=features, evaluate_videos=8)
    stage, dataset = experiment.graph["full"], open_data(experiment)
    monkeypatch.setattr("torch.distributed.is_initialized", lambda: True)
    monkeypatch.setattr("torch.distributed.get_world_size", lambda: 8)
    monkeypatch.setattr("framework.measures.machine_memory", lambda: 8_000)
    stage_evaluation.StageEvaluation(experiment, stage, dataset)
    monkeypatch.setattr("framework.measures.machine_memory", lambda: 7_000)
    with pytest.raises(InputError, match=r"training\.evaluate: sums of outer products"):
        stage_evaluation.StageEvaluation(experiment, stage, dataset)
