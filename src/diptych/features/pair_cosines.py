"""The cosine of image and text of each pair of a stream."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from diptych.core import Backbone, Run, Stream, Texts, UnreadableItem, UsageError
from diptych.data.memory import InMemory
from diptych.features.pool_chunks import Names, chunks
from diptych.features.pool_vectors import PoolVectors, failures
from diptych.features.score_counts import Scored


def pair_cosines(backbone: Backbone, stream: Stream[Any], system: str, run: Run) -> Iterator[Scored]:
    """Yield the cosines of the pairs, some at a time.

    A pair has no cosine where the image or the text cannot be read, or the text is too long.

    Raises:
        UsageError: the stream is of texts alone.
    """
    vectors = PoolVectors(run)
    for some in chunks(stream):
        items = [item for _, item in some]
        if str in {*map(type, items)}:
            raise UsageError(
                f"{system} compares images with texts, and this pool has texts alone: give a table or tars, or use "
                f"metaclip."
            )
        result = vectors.arrays(backbone.image, InMemory(items, Names(some)))
        readable: list[int] = result.kept.tolist()
        texts, refused = _texts(backbone, [items[i] for i in readable], vectors)
        cosines = (normalize(torch.from_numpy(result.values[:, 0]), dim=-1) * normalize(texts, dim=-1)).sum(-1)
        scores = np.full(len(items), np.nan)
        scores[result.kept] = cosines.numpy()
        broken = failures(range(len(items)), readable, result.failed)
        reasons = {i: error.reason for i, error in broken.items()}
        reasons |= {readable[k]: reason for k, reason in refused.items()}
        yield Scored(some, scores, reasons)


def _texts(backbone: Backbone, items: Sequence[Any], vectors: PoolVectors) -> tuple[Tensor, dict[int, str]]:
    """Return (N, D) embeddings of texts, and position -> reason of those that have none; their rows are NaN."""
    broken: dict[int, str] = {}
    try:
        texts = dict(enumerate([item.text() for item in items]))
    except UnreadableItem:
        texts = {}
        for i, item in enumerate(items):
            try:
                texts[i] = item.text()
            except UnreadableItem as error:
                broken[i] = error.reason

    def embedded() -> Tensor:
        result = vectors.arrays(backbone.text, Texts(tuple(texts.values())))
        if result.failed:
            raise result.failed[0]
        return torch.from_numpy(result.values[:, 0])

    try:
        values = embedded()
    except UsageError:
        refused = {i: reason for i, text in texts.items() if (reason := _refusal(backbone, text))}
        if not refused:
            raise
        broken |= refused
        texts = {i: text for i, text in texts.items() if i not in refused}
        values = embedded()
    if not broken:
        return values, broken
    whole = torch.full((len(items), backbone.text.dim), math.nan)
    whole[list(texts)] = values
    return whole, broken


def _refusal(backbone: Backbone, text: str) -> str:
    try:
        backbone.text.inputs([text])
    except UsageError as error:
        return str(error)
    return ""
