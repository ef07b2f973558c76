"""Cards by name, and the rates that torch would use of them."""

import pytest
import torch

from framework.cost.cards import CARDS, find_card
from framework.cost.meter import Operation
from framework.cost.totals import seconds_of, totals
from registry import InputError


@pytest.mark.parametrize("card", CARDS.values(), ids=CARDS)
def test_figures_are_plausible_and_have_a_source(card):
    """Half precision is the fastest, plain float32 the slowest, memory faster than any link; each says whence."""
    assert card.half > card.tf32 >= card.fp32 > 1e12
    assert card.bandwidth > card.link >= card.network > 1e9
    assert card.memory >= 16e9
    assert "NVIDIA" in card.source


def test_unknown_card():
    """A misspelt name is an error in one line with the nearest one."""
    with pytest.raises(InputError, match=r"--gpu: no GPU is called 'h10'; allowed: .*; did you mean 'h100'\?"):
        find_card("h10")


def test_figures_of_ones_own():
    """Given figures stand in place of the card's; the rate is that of all products."""
    card = find_card("a100", memory=40e9, rate=100e12, bandwidth=1e12)
    assert (card.memory, card.half, card.tf32, card.fp32, card.bandwidth) == (40e9, 100e12, 100e12, 100e12, 1e12)
    assert card.given == ("memory", "rate", "bandwidth")
    assert CARDS["a100"].memory == 80e9


def test_rates_follow_torchs_defaults():
    """Convolutions of float32 go through TF32, other products do not, unless torch is told so."""
    card = find_card("a100")
    assert card.rate(torch.bfloat16, convolution=False) == card.half
    assert card.rate(torch.float32, convolution=True) == card.tf32
    assert card.rate(torch.float32, convolution=False) == card.fp32
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("high")
        assert card.rate(torch.float32, convolution=False) == card.tf32
    finally:
        torch.set_float32_matmul_precision(before)


def test_roofline():
    """An operation takes as long as its products or its bytes do, whichever is longer; several add up."""
    card = find_card("h100", rate=1e12, bandwidth=1e9)
    products = Operation("", "", 0, 3_000_000, 1000, torch.float32)
    bytes_ = Operation("", "", 0, 1000, 5000, torch.float32)
    only_bytes = Operation("", "", 0, 0, 2000)
    assert [seconds_of(each, card) for each in (products, bytes_, only_bytes)] == [3e-6, 5e-6, 2e-6]
    found = totals([(products, 2), (bytes_, 1), (only_bytes, 10)], card)
    assert (found.flops, found.bytes) == (6_001_000, 27_000)
    assert found.seconds == pytest.approx(31e-6)
