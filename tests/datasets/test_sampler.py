"""The training sequence as a pure function of seed and position."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets import ClipSampler, positions
from registry import InputError


@settings(max_examples=30, deadline=None)
@given(clips=st.integers(1, 40), epoch=st.integers(0, 10**9), seed=st.integers(0, 2**40))
def test_every_clip_once_per_epoch(clips, epoch, seed):
    """An epoch, wherever it lies, visits every clip exactly once."""
    sampler = ClipSampler([10] * clips, 10, seed)
    assert sorted(sampler(epoch * clips + place)[0] for place in range(clips)) == list(range(clips))


def test_epochs_and_seeds_differ():
    """Each epoch and each seed has an order of its own."""
    sampler, other = ClipSampler([5] * 50, 5, 0), ClipSampler([5] * 50, 5, 1)
    orders = [[sampler(50 * epoch + place)[0] for place in range(50)] for epoch in range(3)]
    orders.append([other(place)[0] for place in range(50)])
    assert len(set(map(tuple, orders))) == 4


def test_no_state():
    """Positions in any order, from a fresh sampler, give what reading along gives."""
    lengths = np.arange(20, 50)
    along = [ClipSampler(lengths, 12, 7)(position) for position in range(90)]
    sampler = ClipSampler(lengths, 12, 7)
    jumps = np.random.default_rng(0).permutation(90).tolist()
    assert [sampler(position) for position in jumps] == [along[position] for position in jumps]


def test_starts_are_uniform():
    """Starts cover every allowed offset, first and last included, about equally often."""
    sampler = ClipSampler([14], 10, 3)
    counts = np.bincount([sampler(position)[1] for position in range(2000)])
    assert len(counts) == 5
    assert counts.min() > 300  # 400 expected, standard deviation 18


def test_starts_do_not_follow_the_clip():
    """A clip starts elsewhere in the next epoch."""
    sampler = ClipSampler([1000] * 4, 1, 0)
    starts = {clip: [sampler(4 * epoch + place)[1] for epoch in range(5) for place in range(4)] for clip in range(4)}
    assert all(len(set(each)) > 10 for each in starts.values())


@settings(max_examples=30, deadline=None)
@given(world=st.sampled_from([1, 2, 3, 4, 6]), iteration=st.integers(0, 10**6))
def test_ranks_share_one_sequence(world, iteration):
    """However many processes share a batch, together they take the same positions, each once."""
    taken = [list(positions(iteration, 12, rank, world)) for rank in range(world)]
    assert {len(each) for each in taken} == {12 // world}
    assert sorted(itertools.chain(*taken)) == list(range(12 * iteration, 12 * iteration + 12))
    assert all(taken[place % world][place // world] == 12 * iteration + place for place in range(12))


def test_uneven_share_is_refused():
    """A batch that does not divide by the processes is an error."""
    with pytest.raises(InputError, match=r"batch_size.*10 samples.*3 processes"):
        positions(0, 10, 0, 3)


def test_short_clips():
    """Clips that are too short are refused, or left out on demand; none left is an error either way."""
    with pytest.raises(InputError, match=r"2 of 4 clips have fewer than 12 frames \(clip 1 has 11\)"):
        ClipSampler([12, 11, 30, 5], 12, 0)
    sampler = ClipSampler([12, 11, 30, 5], 12, 0, short="skip")
    assert {sampler(position)[0] for position in range(20)} == {0, 2}
    with pytest.raises(InputError, match="no clip has 12 frames; the longest has 7"):
        ClipSampler([3, 7], 12, 0, short="skip")


def test_draws_are_pure_and_apart():
    """A draw depends on seed, position and stream, on nothing else, and on each of them."""
    sampler = ClipSampler([9], 9, 5)
    first = sampler.draw(3, 2**62, 1)
    sampler.draw(4, 7)
    assert ClipSampler([9], 9, 5).draw(3, 2**62, 1) == first
    others = [
        sampler.draw(2, 2**62, 1),
        sampler.draw(3, 2**62, 0),
        sampler.draw(3, 2**62, 2),
        ClipSampler([9], 9, 6).draw(3, 2**62, 1),
    ]
    assert first not in others


def test_draws_are_uniform():
    """Every number below the bound comes about equally often, and none beyond."""
    counts = np.bincount([ClipSampler([9], 9, 5).draw(position, 7) for position in range(3500)])
    assert len(counts) == 7
    assert abs(counts - 500).max() < 100  # standard deviation 21
