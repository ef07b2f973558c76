"""Conditional batch norm with per-timestep statistics against torch's batch norm, one per timestep."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from components.layers import ConditionalBatchNorm, batch_statistics
from registry import InputError

C, D = 3, 4


def random_norm(**options) -> ConditionalBatchNorm:
    return ConditionalBatchNorm(C, D, **options).double()


def video(batch: int, frames: int) -> torch.Tensor:
    """Videos whose timesteps and channels differ widely in mean and spread."""
    scale = torch.rand(frames, C, 1, 1, dtype=torch.double) * 4 + 0.1
    shift = torch.randn(frames, C, 1, 1, dtype=torch.double) * 5
    return torch.randn(batch, frames, C, 3, 2, dtype=torch.double) * scale + shift


def conditioned(norm: ConditionalBatchNorm, normalised: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
    """Gain and bias written out, from the normalised weights as they are in evaluation mode."""
    mode = norm.training
    norm.eval()
    gain, bias = condition @ norm.gain.weight.T, condition @ norm.bias.weight.T
    norm.train(mode)
    return normalised * (1 + gain[:, None, :, None, None]) + bias[:, None, :, None, None]


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    lengths=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    momentum=st.sampled_from([0.1, 0.7, None]),
)
def test_equals_a_batch_norm_for_each_timestep(seed, lengths, momentum):
    """Training, then evaluation, over batches of differing lengths: each timestep as torch's BatchNorm2d of its own."""
    torch.manual_seed(seed)
    norm = random_norm(momentum=momentum)
    references = [nn.BatchNorm2d(C, momentum=momentum, affine=False).double() for _ in range(max(lengths))]
    for frames in lengths:
        x, condition = video(3, frames), torch.randn(3, D, dtype=torch.double)
        ours = norm(x, condition)
        expected = torch.stack([references[t](x[:, t]) for t in range(frames)], dim=1)
        torch.testing.assert_close(ours, conditioned(norm, expected, condition))

    assert norm.running_mean.shape == (max(lengths), C)
    torch.testing.assert_close(norm.running_mean, torch.stack([each.running_mean for each in references]))
    torch.testing.assert_close(norm.running_var, torch.stack([each.running_var for each in references]))
    assert norm.batches_tracked.tolist() == [each.num_batches_tracked.item() for each in references]

    norm.eval()
    x, condition = video(2, max(lengths)), torch.randn(2, D, dtype=torch.double)
    expected = torch.stack([each.eval()(x[:, t]) for t, each in enumerate(references)], dim=1)
    torch.testing.assert_close(norm(x, condition), conditioned(norm, expected, condition))


def test_gradients_are_those_of_the_written_out_formula():
    """Gradients of input, condition and weights equal those of mean, variance and affine map written out."""
    norm = random_norm().eval()
    x, condition = video(3, 2).requires_grad_(), torch.randn(3, D, dtype=torch.double, requires_grad=True)
    with batch_statistics(norm):
        ours = norm(x, condition)
    mean = x.mean(dim=(0, 3, 4), keepdim=True)
    variance = (x - mean).square().mean(dim=(0, 3, 4), keepdim=True)
    plain = conditioned(norm, (x - mean) / (variance + norm.eps).sqrt(), condition)
    inputs, weights = [x, condition, *norm.parameters()], torch.randn_like(plain)
    for mine, other in zip(
        torch.autograd.grad((ours * weights).sum(), inputs),
        torch.autograd.grad((plain * weights).sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(mine, other)


def test_gain_is_one_and_bias_zero_without_a_condition():
    """A condition of zeros leaves the normalised values: mean 0 and variance 1 in every frame and channel."""
    y = random_norm()(video(4, 3), torch.zeros(4, D, dtype=torch.double))
    torch.testing.assert_close(y.mean(dim=(0, 3, 4)), torch.zeros(3, C, dtype=torch.double))
    torch.testing.assert_close(
        y.var(dim=(0, 3, 4), correction=0), torch.ones(3, C, dtype=torch.double), atol=1e-3, rtol=0
    )


@settings(max_examples=10, deadline=None)
@given(window=st.integers(0, 4).flatmap(lambda start: st.tuples(st.just(start), st.integers(start + 1, 5))))
def test_a_window_is_normalised_by_its_own_timesteps(window):
    """With ``start``, a window of a video in evaluation mode is cut out of the whole video's result."""
    norm, condition = random_norm(), torch.randn(3, D, dtype=torch.double)
    norm(video(3, 5), condition)
    norm.eval()
    x, (start, stop) = video(3, 5), window
    torch.testing.assert_close(norm(x[:, start:stop], condition, start), norm(x, condition)[:, start:stop])


def test_tracking_a_window_leaves_other_timesteps_alone():
    """Training on frames 2 and 3 gives the first two timesteps no statistics and counts no batch for them."""
    norm = random_norm()
    norm(video(3, 2), torch.zeros(3, D, dtype=torch.double), start=2)
    assert norm.batches_tracked.tolist() == [0, 0, 1, 1]
    assert not norm.running_mean[:2].any()
    assert norm.running_mean[2:].all()


@pytest.mark.parametrize(("start", "frames"), [(0, 4), (2, 2), (3, 1)])
def test_evaluation_beyond_the_statistics_is_refused(start, frames):
    """The error says how long the statistics are and what would help."""
    norm, condition = random_norm(), torch.zeros(2, D, dtype=torch.double)
    norm(video(2, 3), condition)
    norm.eval()
    with pytest.raises(InputError, match=r"3 frames long, frame 3 .*standing statistics"):
        norm(video(2, frames), condition, start)


def test_statistics_of_any_length_load():
    """A checkpoint's statistics load into a fresh norm and into one of another length, bit for bit."""
    norm, condition = random_norm(), torch.zeros(2, D, dtype=torch.double)
    norm(video(2, 5), condition)
    longer = random_norm()
    longer(video(2, 7), condition)
    for other in (random_norm(), longer):
        other.load_state_dict(norm.state_dict())
        assert all(torch.equal(value, norm.state_dict()[name]) for name, value in other.state_dict().items())
        x = video(2, 5)
        assert torch.equal(other.eval()(x, condition), norm.eval()(x, condition))
        norm.train()


def test_statistics_of_another_width_do_not_load():
    """A checkpoint of a norm over other channels is refused by torch."""
    with pytest.raises(RuntimeError, match="size mismatch"):
        random_norm().load_state_dict(ConditionalBatchNorm(C + 1, D).double().state_dict())


def test_half_precision_has_single_precision_statistics():
    """Of bfloat16 videos far from zero the statistics are those of the same numbers in float32."""
    norm = ConditionalBatchNorm(C, D)
    x = (torch.randn(8, 2, C, 4, 4) + 20).bfloat16()
    y = norm(x, torch.zeros(8, D))
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(norm.running_mean, 0.1 * x.float().mean(dim=(0, 3, 4)))
    torch.testing.assert_close(y.float().mean(dim=(0, 3, 4)), torch.zeros(2, C), atol=0.02, rtol=0)


def test_runs_on_the_meta_device():
    """Training without memory works, the statistics growing as elsewhere."""
    with torch.device("meta"):
        norm = ConditionalBatchNorm(C, D)
        assert norm(torch.zeros(2, 5, C, 3, 3), torch.zeros(2, D)).shape == (2, 5, C, 3, 3)
    assert norm.running_var.shape == (5, C)
    assert norm.running_var.is_meta
