"""Which backend computes attention: the faster one by a clock, measured once, and torch's where nothing is measured."""

import sys
import types

import pytest
import torch
from torch.utils.checkpoint import checkpoint

from components.layers import attention_backends as backends
from components.layers.attention_backends import Fastest, Kind, by_torch, written_out


class Clock:
    """Time that passes only when backends let it."""

    def __init__(self):
        self.seconds = 0.0

    def __call__(self):
        return self.seconds


def fake(clock, forward, backward=0.0, calls=None, refuses=None):
    """A backend that takes so many seconds, and may refuse; with torch's results."""

    class Backward(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, slope):
            clock.seconds += backward
            return slope

    def compute(q, k, v):
        if refuses is not None:
            raise refuses
        clock.seconds += forward
        if calls is not None:
            calls.append(q.shape)
        return Backward.apply(by_torch(q, k, v))

    return compute


def tokens(lines=2, length=3, channels=4, *, grad=True):
    return tuple(torch.randn(1, length, lines, channels, requires_grad=grad) for _ in range(3))


@pytest.mark.parametrize(("seconds", "winner"), [((2.0, 1.0), "b"), ((1.0, 2.0), "a"), ((1.0, 1.0), "a")])
def test_the_faster_one_is_taken(seconds, winner):
    """By the clock's word; of two that are equal the first."""
    clock = Clock()
    fastest = Fastest({"a": fake(clock, seconds[0]), "b": fake(clock, seconds[1])}, clock)
    inputs = tokens()
    assert fastest(*inputs) is fastest._backends[winner]
    assert list(fastest.chosen.values()) == [winner]


def test_backward_counts_where_there_will_be_one():
    """Fast forward and slow backward loses with gradients, and wins without."""
    clock = Clock()
    fastest = Fastest({"a": fake(clock, 1.0, 9.0), "b": fake(clock, 2.0, 1.0)}, clock)
    fastest(*tokens())
    fastest(*tokens(grad=False))
    with torch.no_grad():
        fastest(*tokens())
    assert [(kind.backward, name) for kind, name in fastest.chosen.items()] == [(True, "b"), (False, "a")]


def test_one_slow_run_does_not_decide():
    """The median of five does: a run that something else disturbed, or that warms up, costs nobody the place."""
    clock, calls = Clock(), []

    def sometimes_slow(q, k, v):
        calls.append(1)
        clock.seconds += 100.0 if len(calls) in (1, 3) else 1.0
        return by_torch(q, k, v)

    fastest = Fastest({"a": fake(clock, 2.0), "b": sometimes_slow}, clock)
    fastest(*tokens())
    assert list(fastest.chosen.values()) == ["b"]


def test_each_kind_is_measured_once():
    """Lines count by their power of two; length, channels, type and gradients each make another kind."""
    clock, calls = Clock(), []
    fastest = Fastest({"a": fake(clock, 1.0, calls=calls), "b": fake(clock, 2.0)}, clock, runs=3)
    same = [tokens(4), tokens(5), tokens(7)]
    for inputs in same * 2:
        fastest(*inputs)
    assert len(calls) == 1 + 3
    others = [tokens(8), tokens(4, length=2), tokens(4, channels=2), tokens(4, grad=False)]
    others.append(tuple(each.double() for each in tokens(4)))
    for inputs in others:
        fastest(*inputs)
    assert len(fastest.chosen) == len({Kind.of(*inputs) for inputs in same + others}) == 1 + len(others)
    assert len(calls) == (1 + 3) * len(fastest.chosen)


@pytest.mark.parametrize("error", [NotImplementedError("No operator found"), ValueError("no such shape")])
def test_one_without_a_kernel_is_left_out(error):
    """It says so by these errors; any other is a fault, and is not hidden."""
    clock = Clock()
    fastest = Fastest({"a": fake(clock, 9.0), "b": fake(clock, 1.0, refuses=error)}, clock)
    fastest(*tokens())
    assert list(fastest.chosen.values()) == ["a"]
    with pytest.raises(RuntimeError, match="broken"):
        Fastest({"a": fake(clock, 9.0), "b": fake(clock, 1.0, refuses=RuntimeError("broken"))}, clock)(*tokens())


@pytest.mark.parametrize(
    "error", [torch.AcceleratorError("CUDA error: no kernel image"), torch.OutOfMemoryError("CUDA out of memory.")]
)
def test_one_that_the_card_refuses_is_left_out_and_told_of(error):
    """Kernels built for other cards, or too little memory for a try, do not end a training that torch's carry."""
    clock = Clock()
    fastest = Fastest({"a": fake(clock, 9.0), "b": fake(clock, 1.0, refuses=error)}, clock)
    with pytest.warns(UserWarning, match="attention by b is left out: .*CUDA"):
        fastest(*tokens())
    assert list(fastest.chosen.values()) == ["a"]


def test_measuring_leaves_no_trace():
    """No gradient, no random number, no change of the tensors, nothing saved for anyone's backward pass."""
    clock = Clock()
    fastest = Fastest({"a": fake(clock, 1.0, 1.0), "b": fake(clock, 2.0, 1.0)}, clock)
    inputs, state, saved = tokens(), torch.get_rng_state(), []
    before = [each.detach().clone() for each in inputs]
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: (saved.append(tensor), tensor)[1], lambda t: t):
        fastest(*inputs)
    assert saved == []
    assert all(each.grad is None and torch.equal(each, was) for each, was in zip(inputs, before, strict=True))
    assert torch.equal(torch.get_rng_state(), state)


def test_a_measurement_inside_of_a_part_that_is_computed_again():
    """Activation checkpointing, whose bookkeeping it must not disturb: the same gradients as without."""
    clock, results = Clock(), []
    for checkpointed in (False, True):
        torch.manual_seed(0)
        fastest, inputs = Fastest({"a": fake(clock, 1.0), "b": fake(clock, 2.0)}, clock), tokens()

        def part(q, k, v, fastest=fastest):
            return fastest(q.sin(), k.sin(), v)(q.sin(), k.sin(), v)

        mixed = checkpoint(part, *inputs, use_reentrant=False) if checkpointed else part(*inputs)
        mixed.square().sum().backward()
        assert list(fastest.chosen.values()) == ["a"]
        results.append([mixed, *(each.grad for each in inputs)])
    assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))


class OnCuda(torch.Tensor):
    """What says that it is on a GPU, as a tensor without data does under ``FakeTensorMode``."""

    is_cuda = True


def test_nothing_is_measured_where_it_must_not_be(monkeypatch):
    """On a CPU, of tensors that hold no data, under torch.compile and with deterministic kernels: torch's own."""
    monkeypatch.setattr(backends, "_fastest_on_cuda", lambda: pytest.fail("measured"))
    q, k, v = tokens()
    assert backends.backend(q, k, v) is by_torch
    assert backends.backend(*(each.to("meta") for each in (q, k, v))) is by_torch
    fakes = [each.detach().as_subclass(OnCuda) for each in (q, k, v)]
    assert backends.backend(*fakes) is by_torch
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    monkeypatch.setattr(OnCuda, "is_cuda", property(lambda _: pytest.fail("looked at")), raising=False)
    assert backends.backend(*fakes) is by_torch
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: False)
    torch.use_deterministic_algorithms(True)
    try:
        assert backends.backend(*fakes) is by_torch
    finally:
        torch.use_deterministic_algorithms(False)


def test_xformers_is_measured_against_torch_where_it_is_installed(monkeypatch):
    """Without it there is nothing to choose from; torch stands first, since it can do all."""
    ops = types.SimpleNamespace(memory_efficient_attention=written_out)
    monkeypatch.setitem(sys.modules, "xformers", types.SimpleNamespace(ops=ops))
    fastest = backends._fastest_on_cuda.__wrapped__()
    assert fastest._backends == {"torch": by_torch, "xformers": written_out}
    assert list(fastest._backends) == ["torch", "xformers"]
    monkeypatch.setitem(sys.modules, "xformers", None)
    assert backends._fastest_on_cuda.__wrapped__() is None


def test_the_written_out_way_is_the_fused_one():
    """The same to rounding, in both layouts of memory that the axes give."""
    q, k, v = (torch.randn(2, 5, 3, 4, dtype=torch.double) for _ in range(3))
    for layout in (lambda t: t, lambda t: t.transpose(1, 2).contiguous().transpose(1, 2)):
        mixed = [compute(layout(q), layout(k), layout(v)) for compute in (by_torch, written_out)]
        torch.testing.assert_close(*mixed)
        scores = torch.einsum("nimc,njmc->nmij", q, k) / 2
        torch.testing.assert_close(mixed[0], torch.einsum("nmij,njmc->nimc", scores.softmax(-1), v))
