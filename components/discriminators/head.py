"""The end of every discriminator: features to one score each, by a linear map and the class projection."""

from __future__ import annotations

from torch import Tensor, nn

from components.layers.factories import embedding, linear
from components.layers.precision import widened, without_autocast


class ProjectionHead(nn.Module):
    """``score = w . h + b``, plus ``<e_y, h>`` when conditional (Miyato & Koyama, 2018; appendix B).

    Args:
        features: length of a feature vector h.
        classes: number of classes, each with a spectrally normalised embedding e_y; None when unconditional.
    """

    def __init__(self, features: int, classes: int | None = None) -> None:
        super().__init__()
        self.linear = linear(features, 1)
        self.embedding = None if classes is None else embedding(classes, features)

    def forward(self, h: Tensor, y: Tensor | None = None) -> Tensor:
        """Scores ``(B, K)`` of the features ``h``, ``(B, K, features)``, given class indices ``y``, ``(B,)``.

        Under autocast, too, they are computed in float32.
        """
        with without_autocast(h):
            h = widened(h)
            scores: Tensor = self.linear(h).squeeze(-1)
            if self.embedding is None:
                return scores
            projection: Tensor = (self.embedding(y).unsqueeze(1) * h).sum(-1)
            return scores + projection
