"""What GPUs exchange, against the reductions that a step of several ranks asks for."""

import pytest
import torch
from counted import OPTIONS, real_step, tiny

from components import ranks
from framework.cost.cards import find_card
from framework.cost.interconnect import LATENCY_BETWEEN, LATENCY_IN_MACHINE, Traffic, traffic_of


def test_seconds_of_a_ring():
    """2 (N - 1) / N of the bytes go through the slowest link, and every small reduction waits once."""
    card, traffic = find_card("a100"), Traffic(gradients=10**9, small=100)
    assert traffic.seconds(card, 1) == 0
    assert traffic.seconds(card, 4) == pytest.approx(1.5e9 / 300e9 + 100 * LATENCY_IN_MACHINE)
    assert traffic.seconds(card, 16) == pytest.approx(2 * 15 / 16 * 1e9 / 25e9 + 100 * LATENCY_BETWEEN)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("name", ["base", "full"])
def test_small_reductions_are_those_of_a_step(name, options, monkeypatch):
    """A real iteration, told that it is one of two, asks for as many reductions as are counted."""
    step = real_step(name, **options)
    _, of = tiny(**options)
    calls = []
    monkeypatch.setattr(ranks, "world", lambda: 2)
    monkeypatch.setattr(ranks, "rank", lambda: 0)
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda *arguments: calls.append(1))
    step()
    parts = 1 if of[name].clips_per_gpu is None else 6 // of[name].clips_per_gpu
    assert traffic_of(step.model, of[name].discriminator_steps, parts).small == len(calls)


def test_gradients_are_those_of_the_updates():
    """The generator's once, the discriminators' at each of their updates, four bytes each."""
    model = real_step("full").model
    of_g, of_d = (sum(p.numel() for p in network.parameters()) for network in (model.generator, model.discriminators))
    assert traffic_of(model, 2, 1).gradients == 4 * (of_g + 2 * of_d)
