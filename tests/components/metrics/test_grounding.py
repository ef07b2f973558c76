"""Grounding on constructed cases."""

import math

import pytest
import torch
from batches import added_up, of_videos

from components.metrics import Grounding
from registry import InputError


def random_video(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def measured(viewed, low):
    metric = Grounding()
    metric.update("generated", of_videos(torch.zeros(len(low), 1, 3, 1, 1), viewed=viewed, low=low))
    return {figure.name: figure for figure in metric.figures()}


def test_a_known_error():
    """An error of 0.2 everywhere is 20 dB of a range of 2; each video counts alike."""
    low = random_video(2, 3, 3, 16, 16)
    assert measured(low + 0.2, low)["grounding_psnr"].value == pytest.approx(20, abs=1e-3)
    viewed = torch.stack([low[0] + 0.2, low[1] + 0.02])
    assert measured(viewed, low)["grounding_psnr"].value == pytest.approx(30, abs=1e-2)


def test_the_same_and_another():
    """What is the same has SSIM 1 and the highest PSNR there is; other content has SSIM about 0; noise lies between."""
    low, other = random_video(2, 3, 3, 16, 16), random_video(2, 3, 3, 16, 16, seed=1)
    same = measured(low.clone(), low)
    assert same["grounding_ssim"].value == pytest.approx(1, abs=1e-6)
    assert same["grounding_psnr"].value == pytest.approx(10 * math.log10(4e10))
    assert abs(measured(other, low)["grounding_ssim"].value) < 0.15
    between = measured((low + 0.3 * other).clamp(-1, 1), low)["grounding_ssim"].value
    assert 0.5 < between < 0.99


def test_ssim_by_its_formula():
    """Of two constant grey pictures only the luminance term is left: (2ab + c1) / (a² + b² + c1), values in [0, 1]."""
    low, viewed = torch.full((1, 1, 3, 16, 16), -0.5), torch.full((1, 1, 3, 16, 16), 0.2)
    a, b, c1 = 0.25, 0.6, 0.01**2
    expected = (2 * a * b + c1) / (a * a + b * b + c1)
    assert measured(viewed, low)["grounding_ssim"].value == pytest.approx(expected, rel=1e-3)


def test_ranks_add_up():
    """Two ranks with some of the videos each give the figures of one."""
    low, viewed = random_video(7, 2, 3, 8, 8), random_video(7, 2, 3, 8, 8, seed=1)
    ranks = [Grounding(), Grounding()]
    for rank, part in enumerate((slice(0, 3), slice(3, 7))):
        videos = torch.zeros(part.stop - part.start, 1, 3, 1, 1)
        ranks[rank].update("generated", of_videos(videos, part.start, viewed=viewed[part], low=low[part]))
    for figure in added_up(ranks).figures():
        assert figure.value == pytest.approx(measured(viewed, low)[figure.name].value)


def test_what_is_refused():
    """Videos made of nothing, and views of another shape; real videos are passed over."""
    metric = Grounding()
    metric.update("real", of_videos(torch.zeros(1, 1, 3, 4, 4)))
    assert metric.sums() == {}
    with pytest.raises(InputError, match="low: Grounding needs what the videos were made of"):
        metric.update("generated", of_videos(torch.zeros(1, 1, 3, 4, 4)))
    with pytest.raises(InputError, match=r"viewed: has shape .*that of low"):
        measured(torch.zeros(1, 2, 3, 8, 8), torch.zeros(1, 1, 3, 8, 8))
