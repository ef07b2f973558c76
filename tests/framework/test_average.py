"""The moving average of a generator's weights."""

from __future__ import annotations

import copy
import io

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from components.clip import Clip
from components.generators import DVDGenerator
from components.layers import standing_statistics
from framework.average import WeightAverage
from registry import InputError


def make_generator(channels: int = 2) -> DVDGenerator:
    return DVDGenerator(Clip(3, 8, 8), 2, channels=channels, multipliers=(2, 1), noise_dim=3, embedding_dim=2)


@torch.no_grad()
def step(generator: nn.Module) -> None:
    """Some other weights."""
    for parameter in generator.parameters():
        parameter.add_(torch.randn_like(parameter))


def weights(generator: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in generator.named_parameters()}


@settings(max_examples=10, deadline=None)
@given(decay=st.sampled_from([0.0, 0.3, 0.9, 0.999]), steps=st.integers(0, 20), seed=st.integers(0, 100))
def test_is_the_weighted_sum_of_all_weights(decay: float, steps: int, seed: int) -> None:
    """Every step's weights enter with (1 - d) of theirs times the d of all later ones; d rises from 1/10 to decay."""
    torch.manual_seed(seed)
    generator = make_generator()
    seen = [weights(generator)]
    average = WeightAverage(generator, decay)
    for _ in range(steps):
        step(generator)
        average.update(generator)
        seen.append(weights(generator))
    decays = [min(decay, (1 + n) / (10 + n)) for n in range(steps)]
    shares = [1.0 if index == 0 else 1 - decays[index - 1] for index in range(steps + 1)]
    for index in range(steps + 1):
        for later in decays[index:]:
            shares[index] *= later
    assert sum(shares) == pytest.approx(1)
    for name, value in average.parameters.items():
        expected = sum(share * each[name].double() for share, each in zip(shares, seen, strict=True))
        torch.testing.assert_close(value.double(), expected, rtol=1e-4, atol=1e-5)


def test_carries_on_from_its_state() -> None:
    """Saved and loaded weights-only amid the run, the average ends bit for bit as without the break."""
    torch.manual_seed(0)
    generator = make_generator()
    whole = WeightAverage(generator, 0.9)
    for _ in range(3):
        step(generator)
        whole.update(generator)
    file = io.BytesIO()
    torch.save(whole.state_dict(), file)
    file.seek(0)
    resumed = WeightAverage(make_generator(), 0.9)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    for _ in range(30):
        step(generator)
        whole.update(generator)
        resumed.update(generator)
    assert resumed.updates == whole.updates == 33
    assert all(torch.equal(value, whole.parameters[name]) for name, value in resumed.parameters.items())


def test_another_generators_state_is_refused() -> None:
    """Of other widths, or with a parameter missing: an error that names a parameter, and nothing is taken over."""
    average = WeightAverage(make_generator(), 0.9)
    before = copy.deepcopy(average.state_dict())
    other = WeightAverage(make_generator(channels=3), 0.9).state_dict()
    lacking = {**before, "updates": 5, "parameters": dict(list(before["parameters"].items())[1:])}
    for state in (other, lacking):
        with pytest.raises(InputError, match=r"weight average: trunk\.|weight average: conditioning\."):
            average.load_state_dict(state)
    assert average.updates == 0
    assert all(torch.equal(value, before["parameters"][name]) for name, value in average.parameters.items())


def test_the_generator_of_the_average() -> None:
    """Its layers' weights are the averages over their largest singular values (by SVD); the trained one stays."""
    torch.manual_seed(0)
    generator = make_generator()
    average = WeightAverage(generator, 0.5)
    generator(torch.randn(4, 3), torch.tensor([0, 1, 0, 1]))  # running statistics, which the copy must not have
    for _ in range(4):
        with torch.no_grad():
            for parameter in generator.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
        average.update(generator)
    before = copy.deepcopy(generator.state_dict())
    averaged = average.generator(generator)
    for name, layer in averaged.named_modules():
        if hasattr(layer, "parametrizations"):
            original = average.parameters[f"{name}.parametrizations.weight.original"]
            expected = original / torch.linalg.svdvals(original.flatten(1)).max()
            torch.testing.assert_close(layer.weight, expected, rtol=0.05, atol=1e-3)
    with pytest.raises(InputError, match="statistics"):
        averaged(torch.randn(2, 3), torch.tensor([0, 1]))
    with torch.no_grad(), standing_statistics(averaged, 3):
        averaged(torch.randn(4, 3), torch.tensor([0, 1, 0, 1]))
    assert averaged(torch.randn(2, 3), torch.tensor([0, 1])).shape == (2, 3, 3, 8, 8)
    assert not averaged.training
    assert generator.training
    assert all(torch.equal(value, before[name]) for name, value in generator.state_dict().items())
    assert list(averaged.state_dict()) == list(generator.state_dict())
