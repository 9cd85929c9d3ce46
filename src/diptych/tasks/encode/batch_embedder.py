"""Embedding inside other engines: one callable class, arrays in and arrays out.

Ray Data, Daft and Spark cut batches themselves and hand them to a class that each of their workers makes once:

- ``dataset.map_batches(BatchEmbedder, fn_constructor_kwargs={"backbone": "lite"}, concurrency=2)`` of Ray Data;
- in a class of Daft's ``@daft.cls``, in a method with ``@daft.method.batch(return_dtype=DataType.embedding(
  DataType.float32(), D))``: ``self.embed({"image": column.to_pylist()})["embedding"]``;
- in a pandas UDF of Spark over an iterator: ``embed({"image": series.to_numpy()})["embedding"].tolist()``.

Who cuts the batches decides the last bits of a vector where a runtime depends on the batch size: ``diptych encode
--cluster`` has the bits of one process, this has not.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from diptych.backbones.sources.load import load
from diptych.core import Backbone, Run, Texts, UnreadableItem, UsageError
from diptych.data.images import decode_image
from diptych.data.memory import InMemory
from diptych.features.embed import embed_arrays
from diptych.features.unit_rows import unit_rows


@dataclass(frozen=True)
class _Encoded:
    """Bytes of a picture file, decoded on demand."""

    content: bytes
    name: str

    def image(self) -> Image.Image:
        return decode_image(self.content, self.name)

    def key(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


@dataclass(frozen=True)
class _Missing:
    """A cell without a picture."""

    name: str

    def image(self) -> Image.Image:
        raise UnreadableItem(self.name, "holds no picture")


class BatchEmbedder:
    """Adds a column of unit vectors, and one that says what could not be read, to batches of columns.

    Args:
        backbone: name of one, as the verbs take it; or a loaded one, where the engine can hand it over.
        image: column with pictures: (N, H, W, 3) or (N, H, W) uint8, or N arrays, bytes of files, paths, or pictures of
            Pillow.
        text: column with texts, which are embedded instead; "": none.
        vector: column of the (N, D) float32 unit vectors; NaN where an item cannot be read.
        error: column of the reasons, "" where there is none.
        device, batch, workers, cache: of each worker, see ``Run``.

    Raises:
        UsageError: the batch has no such column, a text is too long, or the vectors' column is there already.

    Example:
        >>> embed = BatchEmbedder("tiny")
        >>> batch = embed({"id": np.arange(2), "image": np.zeros((2, 8, 8, 3), np.uint8)})
        >>> sorted(batch), batch["embedding"].dtype.name, batch["error"].tolist()
        (['embedding', 'error', 'id', 'image'], 'float32', ['', ''])
    """

    def __init__(
        self,
        backbone: str | Backbone = "lite",
        *,
        image: str = "image",
        text: str = "",
        vector: str = "embedding",
        error: str = "error",
        device: str = "cpu",
        batch: int = 32,
        workers: int = 1,
        cache: str | Path | None = None,
    ) -> None:
        self.backbone = load(backbone, device=device) if isinstance(backbone, str) else backbone
        self.column, self.embeds_text = text or image, bool(text)
        self.vector, self.error = vector, error
        self.run = Run(device=device, batch=batch, workers=workers, cache=None if cache is None else Path(cache))

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Return the columns of a batch with the two new ones."""
        if self.column not in batch or self.vector in batch:
            raise UsageError(
                f"A batch with columns {', '.join(batch)} must have {self.column} and no {self.vector}: name others."
            )
        cells = batch[self.column]
        encoder = self.backbone.text if self.embeds_text else self.backbone.image
        items = Texts(tuple(map(str, cells))) if self.embeds_text else _pictures(cells)
        vectors = np.full((len(cells), encoder.dim), np.nan, dtype=np.float32)
        reasons = np.full(len(cells), "", dtype=object)
        if len(cells):
            embedded = embed_arrays(encoder, items, self.run)
            values = embedded.values[:, 0]
            vectors[embedded.kept] = unit_rows(values)
            broken = sorted({*range(len(cells))}.difference(embedded.kept.tolist()))
            reasons[broken] = [each.reason for each in embedded.failed]
        return {**batch, self.vector: vectors, self.error: reasons.astype(str)}


def _pictures(cells: Sequence[Any]) -> InMemory:
    names = [f"row {i}" for i in range(len(cells))]
    return InMemory(list(map(_picture, cells, names)), names)


def _picture(cell: Any, name: str) -> Any:
    if isinstance(cell, Mapping):  # of the datasets library
        cell = cell.get("bytes")
    if isinstance(cell, (bytes, bytearray, memoryview)):
        return _Encoded(bytes(cell), name)
    if isinstance(cell, (str, os.PathLike, Image.Image, np.ndarray)):
        return os.fspath(cell) if isinstance(cell, (str, os.PathLike)) else cell
    return _Missing(name)
