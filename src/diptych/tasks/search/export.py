"""Copies of a search index for other engines: a Lance data set, or Parquet.

Columns are ``image_id`` (the path), ``caption``, ``facts`` (JSON), and the unit vectors of pictures as ``embedding``
and of captions as ``caption_embedding``, lists of fixed size, empty where an entry has none. The index stays what it
is; a copy is made anew.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych.core import UsageError
from diptych.core.errors import need_extra
from diptych.data.files import database_address, drafted, escaped, named
from diptych.search_index.index import Index
from diptych.search_index.rows import MODALITIES, Modality, dumped

ROWS = 4096
"""Entries in memory at the same time."""
COLUMNS: Mapping[Modality, str] = {"image": "embedding", "text": "caption_embedding"}


def export(folder: Path, out: Path, *, overwrite: bool = False) -> int:
    """Write a copy of an index as .lance (a folder) or .parquet, and return the number of entries.

    Raises:
        UsageError: another ending, there is no index, or ``out`` exists and ``overwrite`` is False.
        MissingExtra: pylance is not installed.
    """
    if database_address(folder) is not None:
        raise UsageError(f"{named(folder)} is open to other tools as it is: a folder is exported.")
    ending = out.suffix.lower()
    if ending not in (".lance", ".parquet"):
        raise UsageError(f"An index is exported to a name that ends in .lance or .parquet, not to {out}.")
    if ending == ".lance":
        need_extra("lance", "Lance")
    with drafted(out, overwrite=overwrite) as draft:
        if ending == ".parquet":
            return _parquet(folder, draft)
        import lance
        import pyarrow as pa
        import pyarrow.parquet as pq

        # by way of Parquet: Lance reads in threads of its own, and SQLite stays in one
        with tempfile.TemporaryDirectory(prefix="diptych-", dir=out.parent) as between:
            entries = _parquet(folder, Path(between) / "index.parquet")
            with pq.ParquetFile(Path(between) / "index.parquet") as file:
                reader = pa.RecordBatchReader.from_batches(file.schema_arrow, file.iter_batches(ROWS))
                lance.write_dataset(reader, str(draft))
        return entries


def _parquet(folder: Path, path: Path) -> int:
    """Write an index as Parquet, and return the number of entries."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with Index(folder) as index, index.snapshot():
        vectors = [pa.field(COLUMNS[m], pa.list_(pa.float32(), index.dim)) for m in MODALITIES]
        texts = [pa.field(name, pa.string()) for name in ("image_id", "caption", "facts")]
        schema = pa.schema([*texts, *vectors])
        with pq.ParquetWriter(path, schema) as writer:
            for batch in _batches(index, schema):
                writer.write_batch(batch)
        return len(index)


def _batches(index: Index, schema: Any) -> Iterator[Any]:
    import pyarrow as pa

    earlier: list[int] = []
    for at, modality in enumerate(MODALITIES, 1):
        for part in index.places(modality, size=ROWS):
            rows = part[(part[:, earlier] < 0).all(axis=1)]  # the others are in an earlier pass
            entries = index.entries(rows[:, 0].tolist())
            of_rows = [entries[i] for i in rows[:, 0].tolist()]
            texts = ([entry.name for entry in of_rows], [entry.caption for entry in of_rows])
            columns = [pa.array([escaped(cell) for cell in cells], pa.string()) for cells in texts]
            columns.append(pa.array([dumped(entry.facts) for entry in of_rows], pa.string()))
            columns += [_lists(index.vectors(m), rows[:, k]) for k, m in enumerate(MODALITIES, 1)]
            yield pa.record_batch(columns, schema=schema)
        earlier.append(at)


def _lists(vectors: NDArray[np.float32], slots: NDArray[np.int64]) -> Any:
    """Return the vectors of slots as an Arrow array of lists, null where there is no slot."""
    import pyarrow as pa

    there, dim = slots >= 0, vectors.shape[1]
    values = np.zeros((len(slots), dim), dtype=np.float32)
    values[there] = vectors[slots[there]]
    return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), dim, mask=pa.array(~there))
