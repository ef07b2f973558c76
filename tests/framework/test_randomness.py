"""Random numbers from where a run stands."""

import itertools

import torch

from framework.randomness import derive, generator_at, reseed


def test_places_have_numbers_of_their_own():
    """No two seeds, names or numbers share a seed; all are usable by torch."""
    names, numbers = ["base", "full", "samples", ""], range(30)
    seeds = [derive(seed, a, b, n) for seed, a, b, n in itertools.product((0, 1, 2**40), names, names, numbers)]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_the_same_place_gives_the_same_numbers():
    """Reseeding is a function of the place, not of what was drawn before; a generator of its own agrees with it."""
    reseed(3, "base", 0, 7)
    first = torch.randn(5)
    torch.randn(100)
    reseed(3, "base", 0, 7)
    assert torch.equal(torch.randn(5), first)
    assert torch.equal(torch.randn(5, generator=generator_at(3, "base", 0, 7)), first)


def test_reseeding_is_torchs():
    """The numbers are those that follow ``torch.manual_seed`` with the place's seed."""
    torch.manual_seed(derive(3, "base", 7))
    expected = torch.randn(20)
    reseed(3, "base", 7)
    assert torch.equal(torch.randn(20), expected)


def test_a_generator_of_its_own_leaves_the_global_one():
    """Drawing from it does not move torch's generator."""
    torch.manual_seed(0)
    expected = torch.randn(3)
    torch.manual_seed(0)
    torch.randn(10, generator=generator_at(0, "samples"))
    assert torch.equal(torch.randn(3), expected)
