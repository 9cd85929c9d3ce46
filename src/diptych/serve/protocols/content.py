"""Parts of an input, as chat messages write them: texts, and pictures by ``image_url``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych.features.unit_rows import unit_rows
from diptych.serve.inputs import Input
from diptych.serve.refusals import Refusal
from diptych.serve.uploads import picture_bytes


def content_of(x: Mapping[str, Any], name: str) -> list[Input]:
    """Return the parts of an object with "content": a text, or a list of texts and pictures.

    Raises:
        Refusal: no content, or a part of another kind.
    """
    content = x.get("content")
    if isinstance(content, str) and content:
        return [Input("text", content)]
    if not isinstance(content, list) or not content:
        raise Refusal(400, f'{name} has no content: give {{"content": [{{"type": "text", "text": "..."}}]}}.')
    return [part_of(part, name) for part in content]


def part_of(part: Any, name: str) -> Input:
    """Return a part of a message, {"type": "text", "text": ...} or {"type": "image_url", "image_url": ...}.

    Raises:
        Refusal: it is neither.
    """
    kind = part.get("type") if isinstance(part, dict) else None
    if kind == "text" and isinstance(part.get("text"), str) and part["text"]:
        return Input("text", part["text"])
    url = part.get("image_url") if kind == "image_url" else None
    address = url.get("url") if isinstance(url, dict) else url
    if not isinstance(address, str):
        raise Refusal(400, f"{name} has a part of type {kind!r}: give text or image_url.")
    return picture(address, name)


def picture(data: str, name: str) -> Input:
    """Return a picture of a data URI or of plain base64."""
    return Input("image", picture_bytes(data, name), name)


def joined(vectors: NDArray[np.float32], counts: Sequence[int]) -> NDArray[np.float32]:
    """Return one unit vector an input: that of its only part, or of the sum of its parts.

    Args:
        vectors: (P, D) unit vectors of the parts of all inputs, in order.
        counts: number of parts of each of N inputs; their sum is P.

    Returns:
        (N, D).
    """
    ends = np.cumsum([0, *counts])
    rows = [vectors[a:b] for a, b in pairwise(ends)]
    return np.concatenate([row if len(row) == 1 else unit_rows(row.sum(axis=0, keepdims=True)) for row in rows])
