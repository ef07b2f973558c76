"""Units by size."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framework.cost.units import COUNT, MEMORY, STEP, TRAINING, WORK, unit_of, unit_of_least

SETS = {"memory": MEMORY, "work": WORK, "step": STEP, "training": TRAINING, "count": COUNT}


@pytest.mark.parametrize(
    ("units", "value", "written"),
    [
        (MEMORY, 16_510_000_000, "16.51 GB"),
        (MEMORY, 999_999_999, "1000.00 MB"),
        (MEMORY, 1_500_000, "1.50 MB"),
        (MEMORY, 12, "0.01 kB"),
        (WORK, 174.4e12, "174.40 TFLOP"),
        (WORK, 47.68e9, "47.68 GFLOP"),
        (WORK, 72.7e6, "72.70 MFLOP"),
        (STEP, 3.507, "3.51 s"),
        (STEP, 0.6365, "636.50 ms"),
        (STEP, 0.00072776, "727.76 µs"),
        (TRAINING, 12.18 * 86400, "12.18 days"),
        (TRAINING, 6.24 * 3600, "6.24 hours"),
        (TRAINING, 200, "3.33 minutes"),
        (TRAINING, 0.29, "0.29 s"),
        (COUNT, 234_500_000, "234.50 millions"),
        (COUNT, 184_240, "184.24 thousands"),
    ],
)
def test_written(units, value, written):
    """A figure alone is written in the largest unit of which it is one or more."""
    unit = unit_of(units, [value])
    assert f"{unit.show(value)} {unit.name}" == written


@pytest.mark.parametrize("units", SETS.values(), ids=SETS)
@given(values=st.lists(st.floats(1e-4, 1e16), min_size=1, max_size=5))
def test_figures_of_a_table_share_a_unit(units, values):
    """The largest is at least 1.00 of it where there is such a unit; no figure above zero is written as zero."""
    unit = unit_of(units, values)
    largest = max(values)
    assert largest >= unit.size or unit == units[-1]
    assert all(larger.size > largest for larger in units if larger.size > unit.size)
    for value in values:
        text = unit.show(value)
        if text == "<0.01":
            assert value < 0.01 * unit.size
        else:
            assert float(text) > 0
            assert float(text) * unit.size == pytest.approx(value, abs=0.005001 * unit.size)


@pytest.mark.parametrize("units", SETS.values(), ids=SETS)
@given(values=st.lists(st.floats(1e-4, 1e14), min_size=1, max_size=5))
def test_figures_beside_each_other(units, values):
    """By the least of them, which is 1.00 or more if so no figure is wider than 9999.99, or there is no such unit."""
    unit = unit_of_least(units, [0.0, *values])
    least, largest = min(values), max(values)
    assert len(unit.show(largest)) <= len("9999.99") or unit == units[0]
    if unit.size > least and unit != units[-1]:
        smaller = units[units.index(unit) + 1]
        assert len(smaller.show(largest)) > len("9999.99")
    assert all(larger.size > least for larger in units if larger.size > unit.size)


def test_nothing():
    """Zero is an empty cell, and a table of zeros has a unit."""
    assert unit_of(MEMORY, []) == unit_of(MEMORY, [0.0]) == MEMORY[-1]
    assert MEMORY[0].show(0) == ""
