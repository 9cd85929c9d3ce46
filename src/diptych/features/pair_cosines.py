"""The cosine of image and text of each pair of a stream.

The cache notes the cosines of a block whose source is known: the pass that keeps pairs reads those of the pass that
planned, 4 bytes per pair, instead of both vectors.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych.core import Backbone, Run, Stream, Texts, UnreadableItem, UsageError
from diptych.core.blocks import Block, blocks
from diptych.features.pool_vectors import Pictures, PoolVectors, failures
from diptych.features.score_counts import Scored

LEAST = 1e-12
"""Shorter vectors have the cosines of this length."""


def pair_cosines(backbone: Backbone, stream: Stream[Any], system: str, run: Run) -> Iterator[Scored]:
    """Yield the cosines of the pairs, some at a time.

    A pair has no cosine where the image or the text cannot be read, or the text is empty or too long.

    Raises:
        UsageError: the stream is of texts alone.
    """
    refusal = (
        f"{system} compares images with texts, and this pool has texts alone: give a table or tars, or use metaclip."
    )
    vectors = PoolVectors(run)
    for block in blocks(stream):
        block.check_pictures(refusal)
        source = block.source and f"{block.source}\0cosine of words with {vectors.space(backbone.text)}"
        if (noted := vectors.noted(backbone.image, source, len(block))) is not None:
            yield Scored(block, noted.astype(np.float64), {})
            continue
        counted = run.tally["cached"] + run.tally["encoded"]
        result = vectors.arrays(backbone.image, Pictures(block))
        readable: list[int] = result.kept.tolist()
        texts, refused = _texts(backbone, block, readable, vectors)
        scores = np.full(len(block), np.nan)
        scores[result.kept] = _cosines(result.values[:, 0], texts)
        broken = failures(range(len(block)), readable, result.failed)
        reasons = {i: error.reason for i, error in broken.items()}
        reasons |= {readable[k]: reason for k, reason in refused.items()}
        if not reasons:
            counted = run.tally["cached"] + run.tally["encoded"] - counted
            vectors.note(backbone.image, source, scores.astype(np.float32), counted)
        if reasons or not source:
            vectors.write_notes(backbone.image)
        yield Scored(block, scores, reasons)
    vectors.write_notes(backbone.image)


def _cosines(z: NDArray[np.float32], w: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return (N,) cosines; no normalised copy of the vectors is made."""
    products, first, second = (np.einsum("nd,nd->n", a, b) for a, b in ((z, w), (z, z), (w, w)))
    lengths = np.sqrt(first).clip(LEAST) * np.sqrt(second).clip(LEAST)
    return np.asarray(products / lengths)


def _texts(
    backbone: Backbone, block: Block, readable: Sequence[int], vectors: PoolVectors
) -> tuple[NDArray[np.float32], dict[int, str]]:
    """Return (M, D) embeddings of the texts of some pairs, and position -> reason of those that have none; their rows
    are NaN.
    """
    source = f"{block.source}\0words" if block.source and len(readable) == len(block) else ""
    if (placed := vectors.placed(backbone.text, source)) is not None:
        return placed.values[:, 0], {}
    broken, texts = dict[int, str](), dict[int, str]()
    try:
        whole = block.texts()
        texts = {k: whole[i] for k, i in enumerate(readable)}
    except UnreadableItem:
        for k, i in enumerate(readable):
            try:
                texts[k] = block.items[i].text()
            except UnreadableItem as error:
                broken[k] = error.reason

    broken |= {k: "has no text" for k, text in texts.items() if not text.strip()}
    texts = {k: text for k, text in texts.items() if k not in broken}
    if not texts:
        return np.full((len(readable), backbone.text.dim), math.nan, dtype=np.float32), broken

    def embedded() -> NDArray[np.float32]:
        result = vectors.arrays(backbone.text, Texts(tuple(texts.values())), source="" if broken else source)
        if result.failed:
            raise result.failed[0]
        return result.values[:, 0]

    try:
        values = embedded()
    except UsageError:
        refused = {k: reason for k, text in texts.items() if (reason := _refusal(backbone, text))}
        if not refused:
            raise
        broken |= refused
        texts = {k: text for k, text in texts.items() if k not in refused}
        values = embedded()
    if not broken:
        return values, broken
    out = np.full((len(readable), backbone.text.dim), math.nan, dtype=np.float32)
    out[list(texts)] = values
    return out, broken


def _refusal(backbone: Backbone, text: str) -> str:
    try:
        backbone.text.inputs([text])
    except UsageError as error:
        return str(error)
    return ""
