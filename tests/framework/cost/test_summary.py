"""Summaries put together: shares of batches, what fits, two cascades side by side."""

import attrs
import pytest
from counted import setting, tiny

from framework.cost.cards import find_card
from framework.cost.compare import compare, comparison_text, difference, equal_batch
from framework.cost.memory import peak_of
from framework.cost.summary import CONTEXT, FRAGMENTS, stage_cost, summarise
from framework.cost.text import summary_text
from framework.cost.updates import count_updates
from registry import InputError


def test_the_spec_says_what_the_setting_does_not():
    """Clips are the GPU's share of the batch, in the spec's parts; the days are those of its iterations."""
    experiment, _ = tiny(batch_size=12, clips_per_gpu=2, iterations=700)
    costs = summarise(experiment, setting(gpus=2))
    assert [(cost.clips, cost.parts) for cost in costs] == [(6, 3)] * 2
    for cost in costs:
        assert cost.days == pytest.approx(700 * cost.seconds / 86400)
    base, full = costs
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
    for cost in summarise(experiment, here):
        assert cost.memory.total > here.capacity
        assert 48 % cost.advice == 0
        training = attrs.evolve(of[cost.name], clips_per_gpu=cost.advice)
        assert peak_of(count_updates(experiment, cost.name, training, 48)).total <= here.capacity


def test_efficiency_and_rate_make_time():
    """Half the efficiency is twice the time; FLOPs stay."""
    experiment, _ = tiny()
    base = experiment.graph["base"]
    full, half = (stage_cost(experiment, base, setting(batch=4, efficiency=share), None) for share in (1.0, 0.5))
    assert half.seconds == pytest.approx(2 * full.seconds)
    assert half.total.flops == full.total.flops


def test_precision_of_the_setting():
    """bfloat16 computes products at the card's half rate, and keeps fewer bytes of activations."""
    experiment, _ = tiny()
    slow = find_card("h100", bandwidth=1e18)  # so that time is that of the products
    plain, half = (
        stage_cost(experiment, experiment.graph["base"], setting(card=slow, batch=64, precision=precision), None)
        for precision in ("float32", "bfloat16")
    )
    assert half.total.seconds < plain.total.seconds
    assert half.memory.bytes["activations"] < plain.memory.bytes["activations"]


def test_side_by_side():
    """Ratios are the second's over the first's, at the first's batch; the line says where outputs differ."""
    experiment, _ = tiny(batch_size=8)
    other, _ = tiny(batch_size=2, iterations=8)
    other = attrs.evolve(other, name="other", graph=attrs.evolve(other.graph, classes=None))
    here = equal_batch(experiment, setting())
    assert here.batch == 8
    costs = summarise(experiment, here), summarise(other, here)
    figures = {each.name: each for each in compare(*costs)}
    assert figures["days, stages summed"].ratio == pytest.approx(
        sum(cost.days for cost in costs[1]) / sum(cost.days for cost in costs[0])
    )
    assert figures["parameters of all stages, millions"].ratio < 1
    text = comparison_text((experiment, other), costs)
    assert "outputs differ: 4 classes against no classes" in text
    assert difference(experiment, experiment) == "outputs are alike: 8x8/8 @1"
    assert max(map(len, text.splitlines())) <= 100


def test_text_fits_the_page():
    """Every line has at most 100 columns, for one GPU and for several."""
    experiment, _ = tiny(batch_size=16)
    for gpus in (1, 16):
        here = setting(gpus=gpus)
        text = summary_text(experiment, here, summarise(experiment, here))
        assert max(map(len, text.splitlines())) <= 100
        assert ("between GPUs" in text) == (gpus > 1)
