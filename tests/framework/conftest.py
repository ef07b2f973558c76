"""A run that many tests look at, and the same random numbers for all."""

import pytest
import torch
from tiny_runs import run_of, two_stages


@pytest.fixture(autouse=True)
def seeded():
    """Failures come again: tests draw from torch's generator."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A trained run of two conditional stages. Copy it before touching it."""
    return run_of(two_stages(), tmp_path_factory.mktemp("trained") / "run")
