"""How a batch is shared by processes and cut into parts."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_runs import two_stages

from components.clip import Span
from framework.batch import Latents, least_parts, refuse_uneven, share, slices, take
from registry import InputError

COUNTS = st.integers(1, 300)


@given(clips=COUNTS, world=st.integers(1, 40))
def test_shares_add_up(clips, world):
    """Even shares that make the batch; what has none is refused with the multiples around it."""
    even = [size for size in range(clips + 1) if size * world == clips]
    if even:
        assert [share(clips, world)] == even
        return
    with pytest.raises(InputError) as caught:
        share(clips, world)
    allowed = str(caught.value).partition("allowed: ")[2]
    below, above = ([n for n in range(start, stop) if n % world == 0] for start, stop in ((1, clips), (clips, 400)))
    around = f": {below[-1]} or {above[0]}" if below else ""
    assert allowed == f"a multiple of {world}{around}"


@given(clips=COUNTS, most=COUNTS)
def test_as_few_parts_as_fit(clips, most):
    """Parts are equal and hold no more than they may; the next larger equal parts would hold more."""
    parts = least_parts(clips, most)
    assert clips / parts == clips // parts <= most
    larger = [size for size in range(clips // parts + 1, clips + 1) if clips % size == 0]
    assert all(size > most for size in larger)


def test_without_a_bound_there_is_one_part():
    """So there is where all fit at once; a prime number of clips that do not is taken one by one."""
    assert [least_parts(12, most) for most in (None, 12, 100, 11, 5, 1)] == [1, 1, 1, 2, 3, 12]
    assert least_parts(7, 6) == 7


@given(size=st.integers(1, 20), parts=st.integers(1, 20))
def test_parts_are_the_batch_in_its_order(size, parts):
    """One after another, equally long, nothing twice and nothing left out."""
    batch = {"frames": torch.arange(size * parts), "label": torch.arange(size * parts) * 2}
    taken = [take(batch, part) for part in slices(size * parts, parts)]
    assert [len(each["label"]) for each in taken] == [size] * parts
    for name, values in batch.items():
        assert torch.cat([each[name] for each in taken]).tolist() == values.tolist()


def test_part_of_latents():
    """The same clips of every noise; the window is that of all."""
    z, low, lower = torch.arange(6.0), torch.arange(6.0) + 10, torch.arange(6.0) + 20
    part = Latents(z, [low, lower], Span(2, 4, 8))[slice(2, 4)]
    assert part.z.tolist() == [2, 3]
    assert [noise.tolist() for noise in part.of_sources] == [[12, 13], [22, 23]]
    assert part.window == Span(2, 4, 8)


def test_batches_that_cannot_be_shared():
    """Each stage with a batch of its own is named, the others once; with one process any batch is sound."""
    refuse_uneven(two_stages(batch_size=8), 4)
    refuse_uneven(two_stages(batch_size=7), 1)
    with pytest.raises(InputError) as refused:
        refuse_uneven(two_stages(batch_size=12, full={"training": {"batch_size": 4}}), 8)
    assert [str(problem) for problem in refused.value.problems] == [
        "training.batch_size: 12 clips cannot be shared evenly by 8 processes; allowed: a multiple of 8: 8 or 16",
        "graph.stages.full.training.batch_size: 4 clips cannot be shared evenly by 8 processes; "
        "allowed: a multiple of 8",
    ]
