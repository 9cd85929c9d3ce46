"""Embeddings of records: of their pictures and of their texts, through the store, and of both together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from diptych.core.backbone import Backbone
from diptych.core.data import Samples
from diptych.core.errors import DataError
from diptych.core.run import Run
from diptych.data.record_parts import Part
from diptych.features.embed import embed


def pooled(image: Tensor, text: Tensor, weight: float = 0.5) -> Tensor:
    """Return (N, D) unit record embeddings.

    Args:
        image: (N, D) embeddings of pictures, zero where a record has none.
        text: (N, D) of texts, zero where a record has none.
        weight: a, of the picture, in [0, 1].
    """
    x, t = normalize(image, dim=-1), normalize(text, dim=-1)
    alone = (x.norm(dim=-1, keepdim=True) == 0) | (t.norm(dim=-1, keepdim=True) == 0)
    return normalize(
        torch.where(alone, x + t, weight * x + (1 - weight) * t), dim=-1
    )  # whatever the weight, one alone is that one


def modality_embeddings(backbone: Backbone, records: Samples[Any], run: Run) -> tuple[Tensor, Tensor]:
    """Return (N, D) unit embeddings of pictures and of texts, through the store; zero where a record has none.

    Raises:
        DataError: a record has neither.
        UnreadableItem: a picture cannot be read.
    """
    made = []
    parts = {m: Part(records, m) for m in ("image", "text")}
    if len(records) and (empty := set(range(len(records))) - {i for p in parts.values() for i in p.rows}):
        raise DataError(f"Record {records.name(min(empty))} has neither a picture nor a text: leave it out.")
    for modality, part in parts.items():
        out = torch.zeros(len(records), backbone.encoders[modality].dim)
        out[torch.tensor(part.rows, dtype=torch.int64)] = normalize(
            embed(backbone.encoders[modality], part, run), dim=-1
        )
        made.append(out)
    return made[0], made[1]


@dataclass(frozen=True)
class EmbeddedRecords:
    """Records whose two embeddings are there already, as samples.

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
        """Return the row number: nothing is drawn by it."""
        return str(index)

    def name(self, index: int, /) -> str:
        """Return the row number."""
        return str(index)
