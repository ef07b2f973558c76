"""Spectral normalisation (Miyato et al., 2018) as the paper uses it: by the first singular value (appendix A)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from components.layers.precision import without_autocast
from components.layers.recompute import once

M = TypeVar("M", bound=nn.Module)

Estimate = tuple[Tensor, Tensor, Tensor]
"""The first singular vectors, left ``(rows,)`` and right ``(columns,)``, and the singular value ``()``."""
SMALLEST_LENGTH = 1e-12
"""By which a shorter vector is divided, as in torch's ``normalize``."""
WARM_UP = 15
"""Power iterations on a weight when it is first normalised, from random vectors."""


def spectral_norm(layer: M) -> M:
    """Divide ``layer.weight`` by its largest singular value, estimated by one power iteration per forward.

    In training mode *every read* of ``layer.weight`` is one power iteration (and one division): a forward
    that needs the weight more than once must read it once and keep it. In evaluation mode, and inside
    :func:`held_singular_vectors`, the estimate stays as it is.

    Returns:
        ``layer`` itself, its weight parametrized; the trained tensor is ``layer.parametrizations.weight.original``.
    """
    parametrize.register_parametrization(layer, "weight", SpectralNorm(layer.get_parameter("weight")))
    return layer


class SpectralNorm(nn.Module):
    """The parametrization: a weight to the weight divided by its largest singular value.

    A weight of more than two dimensions counts as the matrix of its output channels against all the rest.
    It is torch's own ``spectral_norm``, less the many small operations that make that one cost seconds per
    network on the meta device, where specs are checked.

    Args:
        weight: the weight to be normalised, at least two dimensions.
    """

    u: Tensor
    """The first left singular vector, ``(rows,)``."""
    v: Tensor
    """The first right singular vector, ``(columns,)``."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.held = False
        """Whether training mode, too, leaves the vectors as they are. Set by :func:`held_singular_vectors`."""
        self.prepared: Estimate | None = None
        """What :class:`PowerIterations` has estimated for the forward at hand."""
        matrix = weight.detach().flatten(1)
        self.register_buffer("u", matrix.new_empty(matrix.shape[0]))
        self.register_buffer("v", matrix.new_empty(matrix.shape[1]))
        if not weight.is_meta:
            self.v.copy_(F.normalize(torch.randn_like(self.v), dim=0))
            for _ in range(WARM_UP):
                self.iterate(matrix)

    def forward(self, weight: Tensor) -> Tensor:
        """The normalised weight; gradients flow through the singular value, not through its vectors.

        Computed in the weight's own precision, under autocast as well.
        """
        with without_autocast(weight):
            normalised: Tensor = _Normalised.apply(weight, *once(self._estimate, weight))  # type: ignore[no-untyped-call,unused-ignore]
            return normalised

    @torch.no_grad()
    def _estimate(self, weight: Tensor) -> Estimate:
        if self.prepared is not None:
            return self.prepared
        matrix = weight.flatten(1)
        if self.training and not self.held:
            self.iterate(matrix)
        # Copies, since the next forward changes the vectors before this one's backward may have run.
        return self.u.clone(), self.v.clone(), torch.dot(self.u, torch.mv(matrix, self.v))

    @torch.no_grad()
    def iterate(self, matrix: Tensor) -> None:
        """One power iteration."""
        self.u.copy_(F.normalize(torch.mv(matrix, self.v), dim=0))
        self.v.copy_(F.normalize(torch.mv(matrix.t(), self.u), dim=0))


class _Normalised(torch.autograd.Function):
    """``W / sigma``, with the derivative written out: ``d sigma / d W = u v^T``."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, u: Tensor, v: Tensor, sigma: Tensor) -> Tensor:
        ctx.save_for_backward(weight, u, v, sigma)
        return weight / sigma

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        weight, u, v, sigma = ctx.saved_tensors
        if torch.is_grad_enabled():  # the gradient is to have one of its own, of which sigma is a part
            sigma = torch.dot(u, torch.mv(weight.flatten(1), v))
        along = (gradient * weight).sum() / sigma
        left = (u * along).view(-1, *[1] * (gradient.dim() - 1))
        return torch.addcmul(gradient, left, v.view(1, *gradient.shape[1:]), value=-1) / sigma, None, None, None


@contextmanager
def held_singular_vectors(module: nn.Module) -> Iterator[None]:
    """Every weight in ``module`` is divided by the same singular value at each forward, in training mode too.

    For the parts of a batch after the first, when an update is made of several: all meet the same weights, and
    the update is one power iteration.
    """
    norms = [part for part in module.modules() if isinstance(part, SpectralNorm)]
    before = [norm.held for norm in norms]
    for norm in norms:
        norm.held = True
    try:
        yield
    finally:
        for norm, held in zip(norms, before, strict=True):
            norm.held = held


@torch.no_grad()
def settle_singular_vectors(module: nn.Module, iterations: int = WARM_UP) -> None:
    """Power iterations on every normalised weight in ``module``, for weights that were put in place of trained ones."""
    for layer in module.modules():
        if isinstance(layer, parametrize.ParametrizationList):
            for part in layer:
                if isinstance(part, SpectralNorm):
                    for _ in range(iterations):
                        part.iterate(layer.original.flatten(1))


@torch.no_grad()
def fix_weights(module: nn.Module) -> None:
    """Put normalised weights in the place of what they are made of, in a network that does not train any more.

    What it computes in evaluation mode stays as it is, bit for bit, without a division at each forward. The names in
    its state become those of layers that are not normalised.
    """
    was_training = module.training
    module.eval()
    for layer in module.modules():
        if parametrize.is_parametrized(layer, "weight"):
            parametrize.remove_parametrizations(layer, "weight")
    module.train(was_training)


class PowerIterations:
    """The power iterations of all normalised weights in ``module`` in one pass, in place of one in each layer.

    Per weight there is then a product with either vector and a division; all else is done for all weights at once,
    where a layer by itself takes a dozen small operations. Results are those of the layers but for rounding::

        iterations = PowerIterations(network)
        with iterations():
            scores = network(x)  # one power iteration, as without

    Args:
        module: has the layers; they are looked for once.
    """

    def __init__(self, module: nn.Module) -> None:
        lists = [part for part in module.modules() if isinstance(part, parametrize.ParametrizationList)]
        self._normalised = [(each, norm) for each in lists for norm in each if isinstance(norm, SpectralNorm)]
        # Here and not in a cache of the process: fake tensors, whose cost is counted, must not meet real ones.
        self._owners: dict[tuple[tuple[int, ...], torch.device], Tensor] = {}

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """For one forward of the module inside. Layers in evaluation mode, and held ones, are left to themselves."""
        moving = [(weight, norm) for weight, norm in self._normalised if norm.training and not norm.held]
        if moving:
            self._iterate([weight.original.detach().flatten(1) for weight, _ in moving], [norm for _, norm in moving])
        try:
            yield
        finally:
            for _, norm in moving:
                norm.prepared = None

    @torch.no_grad()
    def _iterate(self, matrices: Sequence[Tensor], norms: Sequence[SpectralNorm]) -> None:
        with without_autocast(matrices[0]):
            us, _ = self._units([torch.mv(matrix, norm.v) for matrix, norm in zip(matrices, norms, strict=True)])
            vs, sigmas = self._units([torch.mv(matrix.t(), u) for matrix, u in zip(matrices, us, strict=True)])
        torch._foreach_copy_([norm.u for norm in norms], us)
        torch._foreach_copy_([norm.v for norm in norms], vs)
        for norm, u, v, sigma in zip(norms, us, vs, sigmas, strict=True):
            norm.prepared = (u, v, sigma)

    def _units(self, vectors: list[Tensor]) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Each vector divided by its length, and the lengths ``()``."""
        lengths = torch.stack(torch._foreach_norm(vectors)).clamp_min_(SMALLEST_LENGTH)
        sizes = tuple(len(vector) for vector in vectors)
        units = torch.cat(vectors) / lengths[self._owners_of(sizes, lengths.device)]
        return torch.split(units, list(sizes)), lengths.unbind()

    def _owners_of(self, sizes: tuple[int, ...], device: torch.device) -> Tensor:
        """For each place of vectors of these sizes, one after another, which vector it is of; made once."""
        if (sizes, device) not in self._owners:
            owners = torch.repeat_interleave(torch.tensor(sizes), output_size=sum(sizes))
            self._owners[sizes, device] = owners.to(device)
        return self._owners[sizes, device]
