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


CHIPS = {
    "v100": (5120, 1.53, 4096, 1.752, 25 * 6),
    "a100": (6912, 1.41, 5120, 3.186, 25 * 12),
    "h100": (16896, 1.98, 5120, 5.23, 25 * 18),
    "h200": (16896, 1.98, 6144, 6.25, 25 * 18),
    "b200": (18944, 2.0, 8192, 8.0, 50 * 18),
    "l40s": (18176, 2.52, 384, 18.0, 32),
    "rtx4090": (16384, 2.52, 384, 21.0, 32),
}
"""Of each chip float32 units, GHz, width of the memory's bus, Gb/s of each of its lines, GB/s of all links one way."""


@pytest.mark.parametrize("card", CARDS.values(), ids=CARDS)
def test_figures_follow_from_the_chips(card):
    """Rates are what units, clocks, buses and links make; a sparse or a two-way figure would be twice that."""
    units, clock, bus, line, link = CHIPS[card.name]
    assert card.fp32 == pytest.approx(2e9 * units * clock, rel=0.06)
    assert card.bandwidth == pytest.approx(1e9 * bus * line / 8, rel=0.03)
    assert card.link == link * 1e9
    if card.bfloat16:  # tensor cores do TF32 at half the rate of the half precisions
        assert card.half == pytest.approx(2 * card.tf32, rel=0.03)


def test_a_card_without_bfloat16():
    """V100's tensor cores know float16 alone; bfloat16 is computed as float32 is."""
    card = find_card("v100")
    for convolution in (True, False):
        assert card.rate(torch.bfloat16, convolution=convolution) == card.fp32
        assert card.rate(torch.float16, convolution=convolution) == card.half


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
