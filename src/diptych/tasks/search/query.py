"""The vector of a query: words, pictures or both, weighted, added and subtracted.

q = unit( sum over terms of  w_i unit(e_i) )                w_i < 0: away from it
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from diptych.backbones.engines.cached_backbone import CachedBackbone
from diptych.core import Backbone, Encoder, Run, Samples, Texts, UsageError
from diptych.features.embed import embed_arrays
from diptych.search_index.described import Vectors
from diptych.tasks.search.term import Term


def torchless(terms: Sequence[Term], backbone: CachedBackbone, run: Run) -> bool:
    """Say whether a remembered backbone reads and encodes these terms without torch."""
    return backbone.torchless(run, {"image" if term.is_picture else "text" for term in terms})


def query_vector(terms: Sequence[Term], backbone: Backbone | CachedBackbone, run: Run) -> Vectors:
    """Return the (D,) unit vector of a query.

    Raises:
        UsageError: no terms, or terms that cancel out.
        UnreadableItem: a picture cannot be read.
    """
    if not terms:
        raise UsageError('Nothing to look for: give words, a picture, or both, such as "a red car" photo.jpg.')
    image: Encoder[Any] = backbone.image
    values = []
    for term in terms:
        items: Samples[Any] = term.photos if term.is_picture else Texts((term.value,))
        encoder = image if term.is_picture else backbone.text
        if image.modality == "clip" and term.is_picture and term.sample is None:  # among clips, a picture is one frame
            encoder, items = _of_frame(image, items)
        result = embed_arrays(encoder, items, run)
        if result.failed:
            raise result.failed[0]
        values.append(result.values[0, 0])
    return combined(np.stack(values), [term.weight for term in terms])


def _of_frame(clips: Encoder[Any], photos: Samples[Any]) -> tuple[Encoder[Any], Samples[Any]]:
    """Return how a photo is embedded among clips: by the encoder of frames where the clip is their mean."""
    from diptych.data.formats.clips import OneFrame
    from diptych.features.clips import ClipEncoder

    return (clips.image, photos) if isinstance(clips, ClipEncoder) else (clips, OneFrame(photos))


def combined(values: Vectors, weights: Sequence[float]) -> Vectors:
    """Return the (D,) unit vector of the weighted sum of (n, D) vectors, each scaled to length 1 first.

    Raises:
        UsageError: the terms cancel out.
    """
    total, largest = np.zeros(values.shape[1]), max(map(abs, weights))  # only their ratios count, whatever their size
    for value, weight in zip(values.astype(np.float64), weights, strict=True):
        total += weight / largest * value / np.linalg.norm(value)
    norm = float(np.linalg.norm(total))
    if norm < 1e-6:
        raise UsageError("The terms of the query cancel out: change a weight.")
    return (total / norm).astype(np.float32)
