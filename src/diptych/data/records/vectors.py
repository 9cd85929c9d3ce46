"""Stored vectors as records: folders of ``encode`` and of clip-retrieval, Parquet and Lance of ids and vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, cast

import numpy as np
from numpy.typing import NDArray

from diptych.core import DataError
from diptych.core.errors import need_extra
from diptych.data.files import read_json
from diptych.data.format import Format, Request
from diptych.data.formats.embeddings import (
    VectorFiles,
    numbered,
    read_clip_retrieval,
    read_embedding_parquet,
    vectors_of,
)
from diptych.data.formats.parquet import schema_of
from diptych.data.records.records import Records, facts_of, text_of
from diptych.data.rows import TEXT_COLUMNS, columns_of, read_columns

IDS, VECTORS = "image_id", "embedding"
"""Columns of NeMo Curator's Parquet."""


@dataclass(frozen=True)
class StoredVectors:
    """The vectors of N pictures, in the place of the pictures of records.

    Args:
        vectors: "image" -> (N, D) vectors, and "text" -> those of their captions, where they are stored too.
        source: where they lie, for users.
        provenance: facts of the run of ``encode`` that wrote them; empty where another program did.
    """

    vectors: Mapping[str, VectorFiles] = field(repr=False)
    source: str
    provenance: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.vectors["image"])

    def __getitem__(self, index: int, /) -> NoReturn:
        raise DataError(f"{self.source} holds vectors and no pictures: give the pictures, or index the vectors.")

    @property
    def dim(self) -> int:
        """D, the width of the vectors."""
        return int(self.vectors["image"].parts[0].shape[1])

    def key(self, index: int, /) -> str:
        """Return the SHA-256 of the vector of a picture."""
        return self.vectors["image"].key(index)

    def name(self, index: int, /) -> str:
        """Return the file of the vector of a picture, and the row in it."""
        return self.vectors["image"].name(index)

    def take(self, modality: str, rows: Sequence[int]) -> NDArray[np.float32] | None:
        """Return (M, D) stored vectors; None where those of this modality are not stored."""
        stored = self.vectors.get(modality)
        return None if stored is None else np.asarray(stored.take(rows), dtype=np.float32)


def _parquet_files(path: Path) -> list[Path]:
    return sorted(path.glob("*.parquet")) if path.is_dir() else [path] if path.suffix.lower() == ".parquet" else []


def _is_parquet(path: Path, request: Request) -> bool:
    files = [file for file in _parquet_files(path) if file.is_file()]
    return bool(files) and VECTORS in schema_of(files[0]).names


def _parquet(path: Path, request: Request) -> Records:
    ids = request.image or IDS
    images = cast(VectorFiles, read_embedding_parquet(path, ids=ids, vectors=VECTORS).items)
    cells = _cells(_parquet_files(path), _plain(schema_of(_parquet_files(path)[0])))
    return _records(cells, ids, StoredVectors({"image": images}, str(path)), request.text)


def _plain(kinds: Any) -> list[str]:
    """Return the columns of an Arrow schema that hold no vectors."""
    return [name for name in kinds.names if not hasattr(kinds.field(name).type, "value_type")]


def _is_lance(path: Path, request: Request) -> bool:
    return (path / "_versions").is_dir()


def _lance(path: Path, request: Request) -> Records:
    need_extra("lance", "Lance")
    import lance
    import pyarrow as pa

    ids = request.image or IDS
    try:
        data = lance.dataset(str(path))
        table = data.to_table(columns=[*_plain(data.schema), VECTORS])
        if not len(table):
            raise ValueError("it has no rows")
        images = VectorFiles((vectors_of(table.column(VECTORS)),), (str(path),))
        cells = {name: table.column(name).to_pylist() for name in _plain(table.schema)}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, pa.ArrowException) as error:
        raise DataError(f"{path} cannot be read as Lance with vectors in {VECTORS!r} ({str(error)[:80]}).") from None
    return _records(cells, ids, StoredVectors({"image": images}, str(path)), request.text)


def _is_folder(path: Path, request: Request) -> bool:
    return any((path / kind).is_dir() for kind in ("img_emb", "text_emb"))


def _folder(path: Path, request: Request) -> Records:
    if not (path / "img_emb").is_dir():
        raise DataError(
            f"{path} holds vectors of texts alone, which no index takes: give one with vectors of pictures."
        )
    table = read_clip_retrieval(path)
    vectors = {"image": cast(VectorFiles, table.items)}
    if (texts := table.columns.get("text_emb")) is not None:
        vectors["text"] = cast(VectorFiles, texts.values)
    encoding = read_json(path / "encode.json") if (path / "encode.json").is_file() else {}
    cells = _cells(numbered(path / "metadata", ".parquet"))
    return _records(
        cells, request.image or "image_path", StoredVectors(vectors, str(path), encoding or {}), request.text
    )


def _cells(files: Sequence[Path], wanted: Sequence[str] | None = None) -> dict[str, list[Any]]:
    cells: dict[str, list[Any]] = {}
    for file in files:
        for name, values in read_columns(file, lambda name: wanted is None or name in wanted).items():
            cells.setdefault(name, []).extend(values)
    return cells


def _records(cells: Mapping[str, Sequence[Any]], ids: str, images: StoredVectors, text: str) -> Records:
    n = len(images)
    if short := next((name for name, values in cells.items() if len(values) != n), None):
        raise DataError(f"{images.source} has {len(cells[short])} cells in {short!r} for {n} vectors: write it again.")
    names = tuple(map(str, cells[ids])) if ids in cells else tuple(map(images.name, range(n)))
    column = next(iter(columns_of([c for c in cells if c != ids], TEXT_COLUMNS, text)), None)
    texts = tuple(map(text_of, cells[column])) if column else (None,) * n
    facts = facts_of({name: values for name, values in cells.items() if name not in (ids, column)}, n)
    return Records(names, cast(Any, images), tuple(range(n)), texts, facts)


VECTOR_RECORDS: tuple[Format[Records], ...] = (
    Format("a folder of vectors", _is_folder, _folder),
    Format("Parquet of image_id and embedding", _is_parquet, _parquet),
    Format("Lance of image_id and embedding", _is_lance, _lance),
)
"""Formats of stored vectors, in the order in which they are tried."""
