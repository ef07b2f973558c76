"""Summaries put together: shares of batches, what fits, two cascades side by side."""

import attrs
import pytest
from counted import counted, setting, tiny

from framework import Stage, StageGraph, use
from framework.cost.cards import find_card
from framework.cost.compare import compare, comparison_data, comparison_text, difference, equal_batch
from framework.cost.memory import peak_of
from framework.cost.summary import (
    CONTEXT,
    FRAGMENTS,
    Setting,
    StageCost,
    in_precision,
    iteration,
    stage_cost,
    summarise,
)
from framework.cost.text import summary_data, summary_text
from framework.cost.updates import count_updates
from framework.experiment import Experiment
from registry import InputError

GIVEN = {"batch_size": 12, "clips_per_gpu": 2, "iterations": 700}


@attrs.frozen
class Summed:
    """An experiment, a setting and the costs in it."""

    experiment: Experiment
    setting: Setting
    costs: list[StageCost]


@pytest.fixture(scope="module")
def shared() -> Summed:
    """The tiny cascade on two GPUs, each with three parts of two clips."""
    experiment, _ = tiny(**GIVEN)
    here = setting(gpus=2)
    return Summed(experiment, here, summarise(experiment, here))


@pytest.fixture(scope="module")
def alone() -> Summed:
    """One small stage, without classes, on one GPU with as many clips."""
    clip = tiny()[0].graph["base"].clip
    stage = Stage(
        "only",
        clip=clip,
        generator=use("DVDGenerator", channels=2, multipliers=[2]),
        discriminators={"temporal": use("TemporalDiscriminator", channels=2, multipliers=[2], pool=1)},
    )
    experiment = attrs.evolve(
        tiny(batch_size=6, iterations=8)[0], name="alone", graph=StageGraph(clip=clip, stages=[stage])
    )
    return Summed(experiment, setting(), summarise(experiment, setting()))


def test_the_spec_says_what_the_setting_does_not(shared):
    """Clips are the GPU's share of the batch, in the spec's parts; the days are those of its iterations."""
    assert [(cost.clips, cost.parts) for cost in shared.costs] == [(6, 3)] * 2
    for cost in shared.costs:
        assert cost.days == pytest.approx(700 * cost.seconds / 86400)
    base, full = shared.costs
    assert (base.flops_cascade, full.flops_cascade) == (base.flops_alone, base.flops_alone + full.flops_alone)
    assert "prefix" not in base.iteration
    assert full.own.flops + full.iteration["prefix"].flops == full.total.flops


def test_a_batch_that_cannot_be_shared():
    """It is an error at its place in the spec, as when it is trained."""
    experiment, _ = tiny(batch_size=4)
    with pytest.raises(InputError, match=r"^training.batch_size: 4 clips cannot be shared evenly by 3 processes"):
        summarise(experiment, setting(gpus=3))


def test_advice_fits():
    """Where a batch does not fit, the advised parts do, and the advice divides the batch."""
    experiment, of = tiny()
    card = find_card("h100", memory=(1_000_000 + CONTEXT) / (1 - FRAGMENTS))
    here = setting(card=card, batch=48)
    assert here.capacity == pytest.approx(1_000_000)
    cost = stage_cost(experiment, experiment.graph["base"], here, None)
    assert cost.memory.total > here.capacity
    assert 48 % cost.advice == 0
    training = attrs.evolve(of["base"], clips_per_gpu=cost.advice)
    assert peak_of(count_updates(experiment, "base", training, 48)).total <= here.capacity


def spent(here: Setting, **training):
    """What an iteration of the tiny base is counted as."""
    experiment, of = tiny(**training)
    found = iteration(experiment, experiment.graph["base"], of["base"], here, counted("base", **training))
    return sum(total.flops for total in found.values()), sum(total.seconds for total in found.values())


def test_efficiency_makes_time():
    """Half the efficiency is twice the time; FLOPs stay."""
    (flops, full), (same, half) = (spent(setting(efficiency=share)) for share in (1.0, 0.5))
    assert half == pytest.approx(2 * full)
    assert same == flops


def test_precision_makes_time_and_memory():
    """bfloat16 computes products at the card's half rate, and keeps fewer bytes of activations."""
    slow = setting(card=find_card("h100", bandwidth=1e18))  # so that time is that of the products
    (_, plain), (_, half) = spent(slow), spent(slow, precision="bfloat16")
    assert half < plain
    sizes = [peak_of(counted("base", **training)).bytes["activations"] for training in ({}, {"precision": "bfloat16"})]
    assert sizes[1] < sizes[0]


def test_a_precision_for_all_stages():
    """It takes the place of the experiment's and of a stage's own; none leaves each its own."""
    experiment, _ = tiny(full={"training": {"precision": "float16", "iterations": 2}})
    assert in_precision(experiment, None) == experiment
    changed = in_precision(experiment, "bfloat16")
    assert [changed.training_of(stage).precision for stage in changed.graph.stages] == ["bfloat16"] * 2
    assert changed.training_of(changed.graph["full"]).iterations == 2
    text = summary_text(experiment, setting(), [])
    assert "float32 (base), float16 (full)" in text


@pytest.mark.parametrize(
    ("experiment", "where"),
    [
        (tiny(r1=1.0)[0], "training"),
        (tiny(full={"training": {"r1": 1.0}})[0], "graph.stages.full.training"),
        (tiny(r1=1.0, full={"training": {"precision": "float32"}})[0], "training"),
    ],
)
def test_a_precision_that_training_refuses(experiment, where):
    """R1 in float16 is refused with the line that the check of such a spec has, and counted in any other."""
    line = (
        f"{where}.r1: the penalty's gradients of gradients vanish in float16; "
        'allowed: precision "bfloat16" or "float32", or r1=0'
    )
    with pytest.raises(InputError) as refused:
        in_precision(experiment, "float16")
    assert line in map(str, refused.value.problems)
    in_precision(experiment, "bfloat16")


def test_side_by_side(shared, alone):
    """Ratios are the second's over the first's; the line says where outputs differ; programs get fixed units."""
    costs, experiments = (shared.costs, alone.costs), (shared.experiment, alone.experiment)
    figures = {each.key: each for each in compare(*costs)}
    days = [sum(cost.days for cost in side) for side in costs]
    assert figures["days, stages summed"].ratio == pytest.approx(days[1] / days[0])
    weights = [sum(sum(cost.parameters.values()) for cost in side) for side in costs]
    assert figures["parameters of all stages, millions"].ratio == weights[1] / weights[0]
    text = comparison_text(experiments, costs)
    assert "outputs differ: 8x8/8 @1 against 4x4/4 @2, 4 classes against no classes" in text
    assert difference(experiments[0], experiments[0]) == "outputs are alike: 8x8/8 @1"
    assert max(map(len, text.splitlines())) <= 100
    data = comparison_data(experiments, costs)["figures"]
    assert data["days, stages summed"]["first"] == pytest.approx(days[0])
    assert data["peak memory of the costliest stage, GB"]["first"] == pytest.approx(
        max(cost.memory.total for cost in costs[0]) / 1e9
    )
    assert data["TFLOPs of a generated clip"]["second"] == pytest.approx(costs[1][-1].flops_cascade / 1e12)
    assert set(data) == {
        "peak memory of the costliest stage, GB", "of it activations and temporaries",
        "parameters of the largest stage, millions", "parameters of all stages, millions",
        "TFLOPs of an iteration, stages summed", "time of an iteration, ms, stages summed",
        "time of the costliest stage's, ms", "iterations, thousands, stages summed", "days, stages summed",
        "TFLOPs of a generated clip",
    }  # fmt: skip


def test_the_batch_of_two_cascades_is_the_firsts(shared, alone):
    """Unless one is given."""
    assert equal_batch(shared.experiment, shared.setting).batch == 6
    assert equal_batch(alone.experiment, setting(gpus=3)).batch == 2
    assert equal_batch(alone.experiment, setting(gpus=3, batch=5)).batch == 5


def test_text_fits_the_page(shared, alone):
    """Every line has at most 100 columns, for one GPU and for several, also on 16 in two machines."""
    for summed, gpus in ((alone, 1), (shared, 2), (shared, 16)):
        here = attrs.evolve(summed.setting, gpus=gpus)
        text = summary_text(summed.experiment, here, summed.costs)
        assert max(map(len, text.splitlines())) <= 100
        assert ("between GPUs" in text) == (gpus > 1)
        assert ("in machines of 8" in text) == (gpus == 16)


def test_small_costs_are_told(shared):
    """No figure of a tiny spec is 0.00; cells, times the unit of their heading, are the bytes, FLOPs and seconds."""
    text = summary_text(shared.experiment, shared.setting, shared.costs)
    assert "0.00" not in text.split()
    stages = summary_data(shared.experiment, shared.setting, shared.costs)["stages"]
    sizes = {"kB": 1e3, "MB": 1e6, "GB": 1e9, "MFLOPs": 1e6, "GFLOPs": 1e9, "µs": 1e-6, "ms": 1e-3}
    found = {}
    for line in text.splitlines():
        words = line.replace(",", " ").split()
        if line.startswith(("peak memory", "time of an iteration")) or line.endswith("of an iteration"):
            heading = next(sizes[word] for word in words if word in sizes), line
        elif line.startswith("  in all"):
            found[heading[1].partition(",")[0]] = [float(word) * heading[0] for word in words[2:4]]
    assert len(found) == 3
    for heading, cells in found.items():
        key = "peak" if "memory" in heading else "seconds" if "time" in heading else "total"
        values = [stage[key]["flops"] if key == "total" else stage[key] for stage in stages]
        assert cells == pytest.approx(values, rel=0.01)
