"""Power spectra of fields whose spectrum is known."""

import math

import numpy as np
import pytest
import torch
from batches import added_up, of_videos
from hypothesis import given, settings
from hypothesis import strategies as st

from components.metrics import PSD, luma, radial_psd
from components.metrics.psd import LEAST, frequencies
from registry import InputError


@settings(deadline=None)
@given(st.integers(4, 20), st.data())
def test_a_wave_is_in_its_bin(side, data):
    """A cosine of k cycles with amplitude a has a² H W / 4 at both ±k, all else is zero: the bin's mean says so."""
    k = data.draw(st.integers(1, (side - 1) // 2))
    x = torch.arange(side).double()
    field = 3 * torch.cos(2 * math.pi * k * x / side).expand(side, side)
    spectrum = radial_psd(field)
    centred = np.arange(side) - side // 2
    members = (np.hypot(*np.meshgrid(centred, centred)).round() == k).sum()
    expected = torch.zeros_like(spectrum)
    expected[k] = 2 * (9 * side * side / 4) / members
    torch.testing.assert_close(spectrum, expected, atol=1e-8, rtol=1e-8)
    assert frequencies(side, side)[k] == pytest.approx(k / side)


def test_a_constant_is_at_zero():
    """Its whole power, value² H W, is in the first bin."""
    spectrum = radial_psd(torch.full((6, 10), 2.0))
    assert spectrum[0] == pytest.approx(4 * 60)
    assert spectrum[1:].abs().max() < 1e-12
    assert len(spectrum) == 5


def test_noise_is_flat_and_keeps_its_power():
    """White noise of variance 4 has 4 at every frequency; the mean over the plane is its mean square (Parseval)."""
    field = 2 * torch.randn(400, 32, 32, generator=torch.Generator().manual_seed(0)).double()
    spectrum = radial_psd(field).mean(0)
    assert ((spectrum[1:] - 4).abs() < 0.3).all()
    assert abs(spectrum[0] - 4) < 1.2  # one coefficient, not a mean of many


@pytest.mark.parametrize(("side", "bins"), [(8, 4), (9, 5), (2, 1)])
def test_bins_end_below_half_the_side(side, bins):
    """As pysteps counts: 0 to side/2 - 1 for even sides, to (side - 1)/2 for odd ones."""
    assert radial_psd(torch.zeros(side, side)).shape == (bins,)


def test_luma():
    """BT.601 in [0, 1]: black, white and the three colours."""
    colours = torch.tensor([[-1.0, -1, -1], [1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])[:, :, None, None]
    torch.testing.assert_close(luma(colours)[:, 0, 0], torch.tensor([0, 1, 0.299, 0.587, 0.114]).double())


def blurred(videos):
    return torch.nn.functional.avg_pool3d(videos, (1, 3, 3), 1, (0, 1, 1), count_include_pad=False)


def measured(real, generated, **options):
    metric = PSD(**options)
    metric.update("real", of_videos(real))
    metric.update("generated", of_videos(generated))
    return metric


def test_blur_is_seen():
    """Equal videos differ by 0 dB; blurred ones lose power at high frequencies, and the figure says by how much."""
    videos = torch.rand(6, 12, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    figures = measured(videos, videos).figures()
    assert [figure.detail["frame"] for figure in figures] == [1, 10]
    assert [figure.value for figure in figures] == [0, 0]
    assert figures[0].detail["left_out"] == [25, 50]
    blur = measured(videos, blurred(videos)).figures()[0]
    assert blur.value > 3
    real, generated = blur.detail["real"], blur.detail["generated"]
    assert generated[-1] < 0.3 * real[-1]
    assert generated[0] == pytest.approx(real[0], rel=0.05)


def test_sets_and_ranks():
    """Mean and deviation are those over the three sets of every third video, on one rank as on two."""
    videos = torch.rand(9, 2, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    spectra = radial_psd(luma(videos[:, 1]))
    sets = torch.stack([spectra[k::3].mean(0) for k in range(3)])
    ranks = [PSD(frames=(2,)), PSD(frames=(2,))]
    for rank, part in enumerate((slice(0, 4), slice(4, 9))):
        for side in ("real", "generated"):
            ranks[rank].update(side, of_videos(videos[part], part.start))
    [figure] = added_up(ranks).figures()
    assert figure.detail["real"] == pytest.approx(sets.mean(0).tolist())
    assert figure.detail["real_std"] == pytest.approx(sets.std(0).tolist())


def test_what_is_below_the_noise_of_pixels_does_not_count():
    """A stripe has no power between its harmonics; noise of a thousandth of a grey value there is no difference."""
    stripe = torch.ones(4, 1, 3, 16, 16) * (torch.arange(16) % 2 * 2 - 1)
    noisy = stripe + 1e-5 * torch.randn(stripe.shape, generator=torch.Generator().manual_seed(0))
    assert measured(stripe, noisy, frames=(1,)).figures()[0].value < 0.1
    louder = stripe + 0.1 * torch.randn(stripe.shape, generator=torch.Generator().manual_seed(0))
    assert measured(stripe, louder, frames=(1,)).figures()[0].value > 10


def test_frames_in_any_order():
    """Each figure is that of the frame that it names."""
    videos = torch.rand(4, 8, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    figures = measured(videos, videos, frames=(8, 1, 8)).figures()
    assert [figure.detail["frame"] for figure in figures] == [1, 8]
    for figure in figures:
        expected = radial_psd(luma(videos[:, figure.detail["frame"] - 1])).mean(0)
        assert figure.detail["real"] == pytest.approx(expected.tolist())


def test_intervals():
    """That of the jackknife: each tenth of the videos left out, by hand."""
    videos = torch.rand(25, 1, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    others = blurred(torch.rand(25, 1, 3, 8, 8, generator=torch.Generator().manual_seed(1)) * 2 - 1)
    [figure] = measured(videos, others, frames=(1,)).figures()

    def distance(chosen):
        real, generated = (radial_psd(luma(each[chosen, 0])).mean(0)[1:] for each in (videos, others))
        return float((10 * ((generated + LEAST) / (real + LEAST)).log10()).abs().mean())

    groups = torch.arange(25) % 10
    left = np.array([distance(groups != group) for group in range(10)])
    half = 2.262157 * math.sqrt(0.9 * ((left - left.mean()) ** 2).sum())
    assert figure.value == pytest.approx(distance(groups >= 0))
    assert figure.interval == pytest.approx((figure.value - half, figure.value + half))


def test_frames_that_no_video_has():
    """Where none of the frames is there it is refused."""
    assert PSD(frames=(9, 4)).min_frames == 4
    assert PSD(frames=(9, 4)).names_in(8) == ("psd/4",)
    with pytest.raises(InputError, match="frames: names no frame"):
        PSD(frames=())
    with pytest.raises(InputError, match="frames: the videos have 3 frames, none of"):
        PSD(frames=(4, 9)).update("real", of_videos(torch.zeros(1, 3, 3, 8, 8)))
