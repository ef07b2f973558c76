"""Our networks' weights into plain ones."""

from __future__ import annotations

import torch
from torch import nn

RENAMED = (
    ("trunk.", ""),
    ("conditioning.", ""),
    ("parametrizations.weight.0.u", "parametrizations.weight.0._u"),
    ("parametrizations.weight.0.v", "parametrizations.weight.0._v"),
)


@torch.no_grad()
def take_over(plain: nn.Module, ours: nn.Module) -> nn.Module:
    """Give ``plain`` every weight, singular vector and running statistic of ``ours``; returns ``plain``.

    Raises:
        ValueError: one has what the other has not.
    """
    theirs = plain.state_dict()
    for name, value in ours.state_dict().items():
        if name.endswith("batches_tracked"):
            continue  # plain norms have one momentum
        for ours_name, plain_name in RENAMED:
            name = name.replace(ours_name, plain_name)
        if name not in theirs:
            raise ValueError(f"the plain network has no {name}")
        target = theirs.pop(name)
        if "running" in name:  # rows that training has not met yet are as fresh in both
            target[: len(value)] = value
        else:
            target.copy_(value.reshape(target.shape))
    if theirs:
        raise ValueError(f"our network has nothing for {', '.join(theirs)}")
    return plain
