"""What the benchmarks' rows share."""

import ast
from pathlib import Path

import numpy as np
import pytest

from clip_store_rows.measuring import quartiles

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_quartiles_are_defined_once():
    """All benchmarks' spreads are of one definition."""
    trees = {path: ast.parse(path.read_text()) for path in BENCHMARKS.rglob("*.py")}
    found = [
        path.relative_to(BENCHMARKS).as_posix()
        for path, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name == "quartiles"
    ]
    assert found == ["clip_store_rows/measuring.py"]


@pytest.mark.parametrize("count", [1, 2, 5, 8])
def test_quartiles(count):
    """They are numpy's, interpolated linearly; of one value, that value."""
    values = np.random.default_rng(count).normal(size=count).tolist()
    assert quartiles(values) == pytest.approx(np.quantile(values, [0.25, 0.5, 0.75]))
