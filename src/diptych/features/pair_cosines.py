"""The cosine of image and text of each pair of a stream."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from diptych.core import Backbone, Run, Stream, Texts, UnreadableItem, UsageError
from diptych.data.memory import InMemory
from diptych.features.embed import embed, embed_readable
from diptych.features.pool_chunks import chunks, name_of
from diptych.store.layers import Vectors, shared_vectors


def pair_cosines(
    backbone: Backbone, stream: Stream[Any], system: str, run: Run
) -> Iterator[tuple[int, str, float, str]]:
    """Yield position, name and cosine of each pair, and the reason why there is no cosine.

    The cosine is NaN and the reason is not empty where the image or the text cannot be read, or the text is too long.

    Raises:
        UsageError: the stream is of texts alone.
    """
    stored = shared_vectors(run)
    for some in chunks(stream):
        items = [item for _, item in some]
        if any(isinstance(item, str) for item in items):
            raise UsageError(
                f"{system} compares images with texts, and this pool has texts alone: give a table or tars, or use "
                f"metaclip."
            )
        images = InMemory(items, [name_of(item, position) for position, item in some])
        vectors = embed_readable(backbone.image, images, run, vectors=stored)
        readable: list[int] = vectors.kept.tolist()
        texts, refused = _texts(backbone, [items[i] for i in readable], run, stored)
        products = (normalize(vectors.values, dim=-1) * normalize(texts, dim=-1)).sum(-1).tolist()
        cosine_of = dict(zip(readable, products, strict=True))
        unreadable = sorted({*range(len(items))}.difference(readable))
        broken = dict(zip(unreadable, (e.reason for e in vectors.failed), strict=True))
        broken |= {readable[k]: reason for k, reason in refused.items()}
        for i, (position, _) in enumerate(some):
            yield position, images.name(i), cosine_of.get(i, math.nan), broken.get(i, "")


def _texts(backbone: Backbone, items: Sequence[Any], run: Run, stored: Vectors | None) -> tuple[Tensor, dict[int, str]]:
    """Return (N, D) embeddings of texts, and position -> reason of those that have none; their rows are NaN."""
    texts: dict[int, str] = {}
    broken: dict[int, str] = {}
    for i, item in enumerate(items):
        try:
            texts[i] = item.text()
        except UnreadableItem as error:
            broken[i] = error.reason
    try:
        values = embed(backbone.text, Texts(tuple(texts.values())), run, vectors=stored)
    except UsageError:
        refused = {i: reason for i, text in texts.items() if (reason := _refusal(backbone, text))}
        if not refused:
            raise
        broken |= refused
        texts = {i: text for i, text in texts.items() if i not in refused}
        values = embed(backbone.text, Texts(tuple(texts.values())), run, vectors=stored)
    whole = torch.full((len(items), backbone.text.dim), math.nan)
    whole[list(texts)] = values
    return whole, broken


def _refusal(backbone: Backbone, text: str) -> str:
    try:
        backbone.text.inputs([text])
    except UsageError as error:
        return str(error)
    return ""
