"""GPUs by name, with the rates that their makers publish."""

from __future__ import annotations

import attrs
import torch

from registry import InputError

HALF = (torch.float16, torch.bfloat16)


@attrs.frozen(kw_only=True)
class Card:
    """What a GPU can do at most. Rates are dense (no sparsity), in FLOP/s; bandwidths in bytes/s, one direction."""

    name: str
    source: str
    """Where the figures are published."""
    given: tuple[str, ...] = ()
    """Figures that are a user's own, by name."""
    memory: float
    """Bytes; a GB is 10^9 of them."""
    half: float
    """Matrix rate in float16, and in bfloat16 where the card has it, accumulated in float32."""
    bfloat16: bool = True
    """Whether it has; else torch computes it as float32."""
    tf32: float
    """Matrix rate of float32 with TF32 inside; where a card has no TF32, that of float32."""
    fp32: float
    """Rate of float32 without."""
    bandwidth: float
    """Of its memory."""
    link: float
    """From one GPU to the others in its machine."""
    network: float
    """From one GPU to those in other machines, as the maker's own machine of these GPUs has it; a 100 Gb/s card for
    each, where there is no such machine."""
    per_machine: int = 8
    """GPUs in a machine."""

    def rate(self, dtype: torch.dtype, *, convolution: bool) -> float:
        """FLOP/s of products in ``dtype``; torch's defaults give TF32 to convolutions, and to nothing else."""
        if dtype == torch.bfloat16 and not self.bfloat16:
            return self.fp32
        if dtype in HALF:
            return self.half
        conv, matmul = torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision() != "highest"
        return self.tf32 if (conv if convolution else matmul) else self.fp32


CARDS = {
    card.name: card
    for card in (
        Card(
            name="v100",
            source="NVIDIA V100 data sheet (SXM2, 32 GB); network: DGX-1 with V100 white paper",
            memory=32e9,
            half=125e12,
            bfloat16=False,
            tf32=15.7e12,
            fp32=15.7e12,
            bandwidth=900e9,
            link=150e9,
            network=6.25e9,
        ),
        Card(
            name="a100",
            source="NVIDIA A100 data sheet (SXM, 80 GB), dense; network: DGX A100 data sheet",
            memory=80e9,
            half=312e12,
            tf32=156e12,
            fp32=19.5e12,
            bandwidth=2039e9,
            link=300e9,
            network=25e9,
        ),
        Card(
            name="h100",
            source="NVIDIA H100 data sheet (SXM), dense; network: DGX H100 data sheet",
            memory=80e9,
            half=989e12,
            tf32=494.5e12,
            fp32=67e12,
            bandwidth=3350e9,
            link=450e9,
            network=50e9,
        ),
        Card(
            name="h200",
            source="NVIDIA H200 data sheet (SXM), dense; network: DGX H200 data sheet",
            memory=141e9,
            half=989e12,
            tf32=494.5e12,
            fp32=67e12,
            bandwidth=4800e9,
            link=450e9,
            network=50e9,
        ),
        Card(
            name="b200",
            source="NVIDIA Blackwell architecture brief (HGX B200, dense); the rest: DGX B200 data sheet",
            memory=180e9,
            half=2250e12,
            tf32=1100e12,
            fp32=80e12,
            bandwidth=8000e9,
            link=900e9,
            network=50e9,
        ),
        Card(
            name="l40s",
            source="NVIDIA L40S data sheet, dense; link: PCIe 4.0 x16",
            memory=48e9,
            half=362e12,
            tf32=183e12,
            fp32=91.6e12,
            bandwidth=864e9,
            link=32e9,
            network=12.5e9,
        ),
        Card(
            name="rtx4090",
            source="NVIDIA Ada GPU Architecture white paper (GeForce RTX 4090, dense); link: PCIe 4.0 x16",
            memory=24e9,
            half=165.2e12,
            tf32=82.6e12,
            fp32=82.6e12,
            bandwidth=1008e9,
            link=32e9,
            network=12.5e9,
        ),
    )
}


def find_card(
    name: str, memory: float | None = None, rate: float | None = None, bandwidth: float | None = None
) -> Card:
    """The card called ``name``, with other figures where they are given.

    Args:
        name: as in :data:`CARDS`.
        memory: bytes.
        rate: FLOP/s of all products, whatever they are computed in.
        bandwidth: bytes/s of its memory.

    Raises:
        InputError: there is no such card.
    """
    if name not in CARDS:
        raise InputError.unknown("--gpu", "GPU", name, CARDS)
    card = CARDS[name]
    given = {"memory": memory, "rate": rate, "bandwidth": bandwidth}
    own = tuple(field for field, value in given.items() if value is not None)
    if memory is not None:
        card = attrs.evolve(card, memory=memory)
    if rate is not None:
        card = attrs.evolve(card, half=rate, tf32=rate, fp32=rate)
    if bandwidth is not None:
        card = attrs.evolve(card, bandwidth=bandwidth)
    return attrs.evolve(card, given=own)
