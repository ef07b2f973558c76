"""The convolutional GRU (Ballas et al., 2015) in the form of DVD-GAN: a ReLU in the update (appendix B)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from components.clip import FieldOfView
from components.layers.factories import conv2d
from components.layers.folding import fold_time, stack_time, unfold_time


class ConvGRU(nn.Module):
    """A recurrent layer over the frames of a video, every product a convolution.

    With ``[x; h]`` the concatenation over channels and ``*`` a convolution of its own for each gate::

        r  = sigmoid(W_r * [x; h])        u  = sigmoid(W_u * [x; h])
        c  = ReLU(W_c * [x; r h])         h' = u h + (1 - u) c

    The three weights are those of ``[x; h]`` and are normalised whole. A convolution is the sum of its parts
    over x and over h, so all frames of x go through all gates at once and only h is left for the steps.

    Args:
        in_channels: channels of x.
        hidden_channels: channels of h, which is the output.
        kernel_size: of all the convolutions, odd.
    """

    field_of_view = FieldOfView(past=None, future=0)

    def __init__(self, in_channels: int, hidden_channels: int, kernel_size: int = 3) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.hidden_channels = hidden_channels
        self.reset = conv2d(in_channels + hidden_channels, hidden_channels, kernel_size)
        self.update = conv2d(in_channels + hidden_channels, hidden_channels, kernel_size)
        self.candidate = conv2d(in_channels + hidden_channels, hidden_channels, kernel_size)

    def forward(self, x: Tensor, h0: Tensor | None = None) -> Tensor:
        """The hidden states of all frames.

        Args:
            x: ``(B, T, in_channels, H, W)``.
            h0: the state before the first frame ``(B, hidden_channels, H, W)``; default zeros.

        Returns:
            Tensor: ``(B, T, hidden_channels, H, W)``.
        """
        gates = (self.reset, self.update, self.candidate)
        weights = torch.stack([gate.weight for gate in gates])  # the one read of each weight
        over_x, over_h = torch.split(weights, [self.in_channels, self.hidden_channels], dim=2)
        gates_over_h, candidate_over_h = over_h[:2].flatten(0, 1), over_h[2]
        padding = self.reset.padding

        biases = torch.cat([_bias(gate) for gate in gates])
        from_x = unfold_time(F.conv2d(fold_time(x), over_x.flatten(0, 1), biases, padding=padding), x.shape[1])
        gates_from_x, candidate_from_x = torch.split(from_x, [2 * self.hidden_channels, self.hidden_channels], dim=2)

        h, states = h0, []
        for gates_t, candidate_t in zip(gates_from_x.unbind(1), candidate_from_x.unbind(1), strict=True):
            if h is None:  # a state of zeros adds nothing to any sum
                h = (1 - torch.sigmoid(gates_t[:, self.hidden_channels :])) * F.relu(candidate_t)
            else:
                opened = torch.sigmoid(gates_t + F.conv2d(h, gates_over_h, padding=padding))
                r, u = opened.chunk(2, dim=1)
                c = F.relu(candidate_t + F.conv2d(r * h, candidate_over_h, padding=padding))
                h = torch.lerp(c, h, u)  # u h + (1 - u) c
            states.append(h)
        return stack_time(states)


def _bias(convolution: nn.Conv2d) -> Tensor:
    assert convolution.bias is not None  # noqa: S101 - for the type checker: `conv2d` makes one
    return convolution.bias
