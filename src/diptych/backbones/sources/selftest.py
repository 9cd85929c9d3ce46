"""A fixed picture and a fixed sentence, whose vectors are saved beside weights and compared on loading."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from PIL import Image

from diptych.core import Backbone, DataError

FILE = "diptych_selftest.json"
SENTENCE = "a photo of two cats, 1 dog & a red barn."
TOLERANCE = 1e-3


def picture() -> Image.Image:
    """Return the fixed picture: 75 x 50 pixels of crossed waves, so that crop, squash and filter all show."""
    y, x = np.mgrid[0:50, 0:75].astype(np.float64)
    waves = [np.sin(x / 3) * np.cos(y / 5), np.sin((x + y) / 7), np.cos(x * y / 300)]
    return Image.fromarray(np.round(127.5 + 127.5 * np.stack(waves, axis=-1)).astype(np.uint8))


def probe(backbone: Backbone) -> dict[str, list[float]]:
    """Return the embeddings of the fixed picture and sentence, as plain numbers."""
    with torch.no_grad():
        return {
            modality: [round(float(v), 7) for v in encoder.encode(encoder.inputs([item]))[0].cpu()]
            for modality, encoder, item in (("image", backbone.image, picture()), ("text", backbone.text, SENTENCE))
        }


def check(backbone: Backbone, stored: Mapping[str, Any]) -> None:
    """Compare a loaded backbone with the vectors that were stored when it was saved.

    Raises:
        DataError: a vector differs by more than a thousandth of its largest value: weights, libraries or configuration
            changed.
    """
    for modality, vector in probe(backbone).items():
        then, now = np.asarray(stored.get(modality, ()), dtype=np.float64), np.asarray(vector)
        if then.shape != now.shape or not np.abs(then - now).max() <= TOLERANCE * np.abs(then).max():
            raise DataError(
                f"The {modality} vectors of {backbone.spec.name} are not those stored in its {FILE}: something "
                f"changed since it was saved."
            )
