"""Embeddings of records: of their pictures, of their texts, and of both together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from diptych.core import Backbone, DataError, Run, Samples
from diptych.data.records.parts import RecordPart
from diptych.features.embed import embed


def pooled(image: Tensor, text: Tensor, weight: float = 0.5) -> Tensor:
    """Return (N, D) unit record embeddings: the weighted mean of picture and text.

    A record with only one of the two has that one's embedding, whatever the weight.

    Args:
        image: (N, D) embeddings of pictures, zero where a record has none.
        text: (N, D) embeddings of texts, zero where a record has none.
        weight: weight of the picture, in [0, 1].
    """
    x, t = normalize(image, dim=-1), normalize(text, dim=-1)
    alone = (x.norm(dim=-1, keepdim=True) == 0) | (t.norm(dim=-1, keepdim=True) == 0)
    return normalize(torch.where(alone, x + t, weight * x + (1 - weight) * t), dim=-1)


def modality_embeddings(backbone: Backbone, records: Samples[Any], run: Run) -> tuple[Tensor, Tensor]:
    """Return the (N, D) unit embeddings of pictures and of texts, through the store.

    They are zero where a record has no picture or no text.

    Raises:
        DataError: a record has neither.
        UnreadableItem: a picture cannot be read.
    """
    embeddings = []
    parts = {m: RecordPart(records, m) for m in ("image", "text")}
    if len(records) and (empty := set(range(len(records))) - {i for p in parts.values() for i in p.rows}):
        raise DataError(f"Record {records.name(min(empty))} has neither a picture nor a text: leave it out.")
    for modality, part in parts.items():
        out = torch.zeros(len(records), backbone.encoders[modality].dim)
        out[torch.tensor(part.rows, dtype=torch.int64)] = normalize(
            embed(backbone.encoders[modality], part, run), dim=-1
        )
        embeddings.append(out)
    return embeddings[0], embeddings[1]


@dataclass(frozen=True)
class EmbeddedRecords:
    """Records as samples whose items are their two embeddings.

    Args:
        image, text: (N, D) unit embeddings, zero without picture or text.
    """

    image: Tensor
    text: Tensor

    def __len__(self) -> int:
        return len(self.image)

    def __getitem__(self, index: int, /) -> tuple[Tensor, Tensor]:
        return self.image[index], self.text[index]

    def key(self, index: int, /) -> str:
        """Return the row number; the embeddings depend on no random draw."""
        return str(index)

    def name(self, index: int, /) -> str:
        """Return the row number."""
        return str(index)
