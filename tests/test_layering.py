"""The floors of the house stay floors."""

from importlinter.cli import lint_imports


def test_imports_point_down():
    """Every import contract in pyproject.toml holds."""
    assert lint_imports(no_cache=True) == 0
