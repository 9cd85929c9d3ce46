"""Two regions of any picture, and a backbone that knows the colours of pixels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from diptych.core import Proposals
from tests.support.colours import SIDE, ColourEncoder
from tests.support.dense_colours import DenseColours


class Halves:
    """Proposes the left and the right half, softly, and a third region of which nothing passes the threshold."""

    fingerprint = "halves"
    masks = torch.tensor([[[0.9, 0.1]], [[0.2, 0.8]], [[0.3, 0.3]]])
    scores = torch.tensor([1.0, 0.5, 0.25])

    def propose(self, image: Any, words: Any = (), /) -> Proposals:
        return Proposals(self.masks, self.scores, (image.height, image.width))


class MeanColour(ColourEncoder):
    """The mean colour of pixels."""

    def encode(self, x: Any, /) -> torch.Tensor:
        return super().encode(x.mean((2, 3)) if x.dim() == 4 else x)


class Colours(DenseColours):
    @property
    def encoders(self) -> Mapping[str, Any]:
        return {"image": MeanColour("image", SIDE), "text": ColourEncoder("text", None)}
